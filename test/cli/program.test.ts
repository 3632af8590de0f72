/** How commands end before they reach a broker: exit codes, messages, help. */
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { mkdirSync, symlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { playheadCommand, runPlayhead } from './run-playhead.ts'

const usage: readonly (readonly [args: string, stderr: RegExp])[] = [
  ['', /Usage: playhead/],
  ['fly', /unknown command 'fly'/],
  ['topic', /Usage: playhead topic/],
  ['topic fly', /unknown command 'fly'/],
  ['read carts', /missing required argument 'stream'/],
  ['read carts a b', /too many arguments/],
  ['read carts a --fast', /unknown option '--fast'/],
  ['read carts a --limit', /argument missing/],
  ['read carts a --limit 0', /invalid-argument: --limit: found "0", wanted an integer ≥ 1/],
  ['read carts a --from -1', /invalid-argument: --from: found "-1", wanted an integer ≥ 0/],
  ['read carts a --as-of noon', /invalid-argument: --as-of: found "noon", wanted ISO-8601/],
  ['read carts a --timeout 0', /invalid-argument: --timeout: found "0", wanted seconds above 0/],
  ['read carts a --consistency strong', /Allowed choices are committed, linearizable/],
  ['append carts a --data {}', /required option '--type <type>' not specified/],
  ['append carts a --type T --data {', /invalid-argument: --data: found no JSON/],
  ['replay carts --commit', /invalid-argument: --commit: found no --as NAME/],
  ['replay carts --from noon', /invalid-argument: --from: found "noon", wanted start, end, an offset/],
  ['rewind carts r --to 2011-13-01', /invalid-argument: --to: found/],
  ['topic create t --config segment.bytes', /invalid-argument: --config: found "segment\.bytes", wanted key=value/],
  ['topic alter t', /invalid-argument: --config: found no setting/],
  ['import carts rows.txt --stream a --type =T', /invalid-argument: rows\.txt: found no \.csv, \.ndjson or \.jsonl/],
  [
    'import carts rows.csv --stream a --type =T --format xml',
    /invalid-argument: --format: found "xml", wanted csv or ndjson/,
  ],
  ['import carts rows.csv --stream a --type =', /invalid-argument: --type/],
  ['completion tcsh', /invalid-argument: completion: found "tcsh", wanted bash, zsh or fish/],
  ['cluster reassign carts', /invalid-argument: cluster reassign carts: found neither of --replicas and --cancel/],
  ['cluster throttle', /invalid-argument: cluster throttle: found neither of a limit and --off, wanted one/],
  ['cluster throttle 0', /invalid-argument: bytes-per-second: found "0", wanted an integer ≥ 1/],
  ['cluster reassign carts --replicas a', /invalid-argument: --replicas: found "a", wanted ids of brokers/],
  ['cluster drain one', /invalid-argument: broker: found "one", wanted an integer ≥ 0/],
  [
    'cluster drain 1 --leaders-only --undo',
    /invalid-argument: cluster drain 1: found both of --leaders-only and --undo/,
  ],
  ['cluster recover carts', /required option '--partition <number>' not specified/],
  ['serve 7420', /invalid-argument: serve: found "7420", wanted flags/],
]

test('commands: wrong usage ends with 2, says what is wrong, and prints nothing on stdout', async () => {
  for (const [args, wanted] of usage) {
    const { stdout, stderr, code } = await runPlayhead(args.split(' ').filter((word) => word !== ''))
    assert.equal(code, 2, `playhead ${args}: ${stderr}`)
    assert.match(stderr, wanted, `playhead ${args}`)
    assert.equal(stdout, '', `playhead ${args}`)
  }
})

test('commands: help goes to stdout and ends with 0', async () => {
  for (const args of [['--help'], ['help'], ['topic', '--help'], ['read', '--help'], ['import', '--help']]) {
    const { stdout, stderr, code } = await runPlayhead(args)
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^Usage: playhead/)
  }
})

test('commands: a setting of the broker that is unknown or out of range is refused by name, as a flag and as a variable', async () => {
  await using temporary = await TemporaryDirectory.make()
  const serve = ['serve', '--data', join(temporary.path, 'data'), '--port', '0', '--http-port', '0']
  for (const [args, environment, wanted] of [
    [['--spin', '1'], {}, /error: invalid-configuration: setting spin: found no setting of that name/],
    [
      ['--port', '70000'],
      {},
      /error: invalid-configuration: setting port: found "70000", wanted an integer from 0 to 65535/,
    ],
    [
      ['--in-flight-bytes-max=1'],
      {},
      /setting inFlightBytesMax: found "1", wanted an integer from .* \(flag: --in-flight-bytes-max\)/,
    ],
    [[], { PLAYHEAD_CONNECTIONS_MAX: 'many' }, /setting connectionsMax: found "many"/],
    [['--config', join(temporary.path, 'none.json')], {}, /error: invalid-configuration: config file/],
  ] as const) {
    const { stdout, stderr, code } = await runPlayhead([...serve, ...args], { environment })
    assert.equal(code, 1, stderr)
    assert.match(stderr, wanted)
    assert.equal(stdout, '')
  }
})

test('commands: no broker at the address: unavailable, after the timeout, with exit code 1', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  const flags = ['--server', `127.0.0.1:${port}`, '--timeout', '0.3']
  for (const args of [
    ['status', ...flags],
    [...flags, 'read', 'carts', 'a'],
    ['topic', ...flags, 'list'],
  ]) {
    const { stderr, stdout, code } = await runPlayhead(args)
    assert.match(stderr, /^error: unavailable: .*\n$/)
    assert.equal(code, 1)
    assert.equal(stdout, '')
  }
  const variable = await runPlayhead(['status', '--timeout', '0.3'], {
    environment: { PLAYHEAD_SERVER: `127.0.0.1:${port}` },
  })
  assert.match(variable.stderr, new RegExp(`unavailable.*${port}`))
})

test('launcher: finds itself through relative and absolute links, and through a path with spaces', async () => {
  await using temporary = await TemporaryDirectory.make()
  const folder = join(temporary.path, 'a folder')
  mkdirSync(folder)
  symlinkSync(playheadCommand, join(folder, 'absolute'))
  symlinkSync('a folder/absolute', join(temporary.path, 'relative'))
  for (const path of [join(folder, 'absolute'), join(temporary.path, 'relative')]) {
    assert.match(execFileSync(path, ['--help'], { encoding: 'utf8', cwd: folder }), /^Usage: playhead/)
  }
})

test('launcher: install does nothing where all is there', () => {
  const install = join(import.meta.dirname, '..', '..', 'bin', 'install')
  assert.equal(execFileSync('sh', [install], { encoding: 'utf8' }), '')
})

test('output: whoever stops reading ends the command quietly', async () => {
  // completion writes more than a pipe holds only if asked often; head closes at the first line either way.
  const { stdout, stderr } = await new Promise<{ stdout: string; stderr: string }>((resolve, reject) =>
    execFile('sh', ['-c', `"${playheadCommand}" completion bash | head -1`], (error, out, err) =>
      error ? reject(error) : resolve({ stdout: out, stderr: err }),
    ),
  )
  assert.match(stdout, /^# playhead completion for bash/)
  assert.equal(stderr, '')
})
