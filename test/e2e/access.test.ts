/** Security as an operator sets it up: with the commands, on a broker with TLS, and what is refused. */
import assert from 'node:assert/strict'
import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { makeAuthority, makeCertificate } from '../certificates.ts'
import { runPlayhead } from '../cli/run-playhead.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { ServedBroker } from './served-broker.ts'

test('access: from the first token to a user who may read one topic, and back', async () => {
  await using directory = await TemporaryDirectory.make()
  const at = (name: string): string => join(directory.path, name)
  const authority = await makeAuthority(directory.path, 'authority')
  const { certificate, key } = await makeCertificate(directory.path, authority, { name: 'broker' })
  const flags = ['--security', 'on', '--tls-certificate-file', certificate, '--tls-key-file', key]
  await using broker = await ServedBroker.start(at('data'), flags)
  const tls = ['--authority-file', authority.certificate]
  const admin = [...tls, '--token-file', at('data/admin.token')]
  await writeFile(at('password'), 'correct horse\n')
  const alice = [...tls, '--user', 'alice', '--password-file', at('password')]
  const ok = async (args: readonly string[], who: readonly string[]): Promise<string> => {
    const { stdout, stderr, code } = await broker.run([...args, ...who])
    assert.equal(code, 0, `${args.join(' ')}: ${stderr}`)
    return stdout
  }
  const refused = async (args: readonly string[], who: readonly string[], message: RegExp): Promise<void> => {
    const { stderr, code } = await broker.run([...args, ...who])
    assert.notEqual(code, 0, args.join(' '))
    assert.match(stderr, message)
  }

  await refused(['status'], ['--tls'], /^error: untrusted-broker: /)
  await refused(['status'], tls, /^error: unauthenticated: .*wanted a user or a token/)
  await ok(['topic', 'create', 'carts'], admin)
  await ok(['user', 'create', 'alice', '--new-password-file', at('password')], admin)
  await refused(['user', 'create', 'alice', '--new-password-file', at('password')], admin, /^error: user-exists: /)
  await refused(
    ['read', 'carts', 'a'],
    alice,
    /^error: not-authorized: .*playhead grant add user:alice read stream:carts\/a/,
  )
  await ok(['grant', 'add', 'user:alice', 'read', 'topic:carts'], admin)
  await refused(
    ['grant', 'add', 'user:alice', 'write', 'topic:carts'],
    admin,
    /invalid-grant: .*read, append, create, admin/,
  )
  await ok(['append', 'carts', 'a', '--type', 'T', '--data', '{}'], admin)
  assert.match(await ok(['read', 'carts', 'a'], alice), /"type":"T"/)
  assert.match(await ok(['whoami'], alice), /^user:alice\n {2}read topic:carts/)
  assert.match(await ok(['grant', 'list'], admin), /user:alice +read +topic:carts/)

  const token = (
    await ok(['token', 'create', '--for', 'user:alice', '--expires', '1h', '--description', 'report'], admin)
  ).trim()
  await writeFile(at('token'), `${token}\n`)
  const holder = [...tls, '--token-file', at('token')]
  await ok(['read', 'carts', 'a'], holder)
  const listed = JSON.parse(await ok(['token', 'list', '--json'], admin)) as { tokenId: string; description: string }
  assert.equal(listed.description, 'report')
  await ok(['token', 'revoke', listed.tokenId], admin)
  await refused(['read', 'carts', 'a'], holder, /^error: unauthenticated: /)

  await ok(['quota', 'set', 'user:alice', '--requests', '1000', '--connections', '4'], admin)
  assert.match(await ok(['quota', 'list'], admin), /user:alice +1,000 requests\/s, 4 connections/)
  await ok(['grant', 'remove', 'user:alice', 'read', 'topic:carts'], admin)
  await refused(['read', 'carts', 'a'], alice, /not-authorized/)
  const verified = await ok(['audit', 'verify', '--json'], admin)
  const { events, head } = JSON.parse(verified) as { events: number; head: string }
  assert.ok(events >= 8, verified)
  await ok(['audit', 'verify', '--head', head], admin)
  await refused(['audit', 'verify', '--head', 'f'.repeat(64)], admin, /^error: damaged-audit: /)
  assert.match(await ok(['audit', 'show'], admin), /"type":"createToken"/)
  await refused(['audit', 'show'], alice, /not-authorized/)
  await ok(['user', 'delete', 'alice'], admin)
  await refused(['whoami'], alice, /^error: unauthenticated: /)
  assert.equal(await broker.stop(), 0)
  for (const secret of [token, 'correct horse']) assert.ok(!broker.errors.includes(secret))
})

test('configuration: explained with its sources, unknown names with the nearest, changed by SIGHUP without a restart', async () => {
  await using directory = await TemporaryDirectory.make()
  const file = join(directory.path, 'playhead.json')
  await writeFile(file, JSON.stringify({ fetchWaitMsMax: 1_000, httpPort: 0 }))
  const environment = { PLAYHEAD_CONNECTIONS_MAX: '77' }
  const args = ['config', 'explain', '--config', file, '--changed', '--json', '--port', '0']
  const { stdout } = await runPlayhead(args, { environment })
  const rows = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { name: string; value: unknown; source: string })
  assert.deepEqual(
    rows.map(({ name, value, source }) => [name, value, source]),
    [
      ['port', 0, 'flag: --port'],
      ['httpPort', 0, 'config file: httpPort'],
      ['connectionsMax', 77, 'environment: PLAYHEAD_CONNECTIONS_MAX'],
      ['fetchWaitMsMax', 1_000, 'config file: fetchWaitMsMax'],
    ],
  )
  const one = await runPlayhead(['config', 'explain', 'fetchWaitMsMax'])
  assert.match(one.stdout, /^fetchWaitMsMax = 300000 {3}\(default\)\n[^]*a change takes a reload/)
  const unknown = await runPlayhead(['config', 'explain', 'conectionsMax'])
  assert.match(unknown.stderr, /did you mean connectionsMax\?/)
  const misspelt = await runPlayhead(['serve', '--data', join(directory.path, 'none'), '--fetch-bites-max', '1'])
  assert.match(misspelt.stderr, /did you mean fetchBytesMax\?/)

  await mkdir(join(directory.path, 'data'))
  await using broker = await ServedBroker.start(join(directory.path, 'data'), ['--config', file])
  const logged = async (message: RegExp): Promise<void> => {
    while (!message.test(broker.errors)) await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await writeFile(`${file}.new`, JSON.stringify({ fetchWaitMsMax: 2_000, httpPort: 0, connectionsMax: 5 }))
  await copyFile(`${file}.new`, file)
  process.kill(broker.pid, 'SIGHUP')
  await logged(/changed fetchWaitMsMax; for a restart: connectionsMax/)
  await writeFile(file, '{"fetchWaitMsMax": "soon"}')
  process.kill(broker.pid, 'SIGHUP')
  await logged(/configuration not changed: setting fetchWaitMsMax: found \\"soon\\"/)
  for (const line of broker.errors.trim().split('\n'))
    assert.ok(typeof (JSON.parse(line) as { msg: unknown }).msg === 'string')
  assert.equal(await broker.stop(), 0)
})
