import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { RunningServer, freePort } from '../../../bench/rivals/running-server.ts'
import { childEnvironment, fetchOnce, fetchWith, runTool } from '../../../bench/rivals/tool.ts'
import { TemporaryDirectory } from '../../temporary-directory.ts'

const node = (script: string): string[] => [process.execPath, '-e', script]

test('tool: what it printed, or an error with its exit code and its last words', async () => {
  assert.equal(await runTool(node('console.log(42)')), '42\n')
  await assert.rejects(runTool(node('console.error("no disk"); process.exit(3)')), /found exit code 3.*no disk/s)
  await assert.rejects(runTool(['/no/such/tool']), { code: 'unavailable' })
  await assert.rejects(runTool(node('setInterval(() => {}, 1000)'), { timeoutMs: 300 }), /SIGKILL/)
})

test('tool: a fetch that fails names the command to run; one that succeeded is not done again', async () => {
  await using directory = await TemporaryDirectory.make()
  await assert.rejects(
    fetchWith(['/no/such/tool', 'install', 'x'], { WHERE: 'y' }),
    /\nrun: WHERE=y \/no\/such\/tool install x$/,
  )
  const counter = join(directory.path, 'count')
  const commands = [node(`require('node:fs').appendFileSync(${JSON.stringify(counter)}, 'x')`)]
  await fetchOnce(join(directory.path, 'cache'), commands)
  await fetchOnce(join(directory.path, 'cache'), commands)
  assert.equal(await readFile(counter, 'utf8'), 'x')
})

test('tool: settings of ours in the environment do not reach what is measured', () => {
  process.env['PLAYHEAD_TAIL_CACHE_BYTES'] = '1'
  try {
    const environment = childEnvironment({ ADDED: 'yes' })
    assert.deepEqual([environment['PLAYHEAD_TAIL_CACHE_BYTES'], environment['ADDED']], [undefined, 'yes'])
    assert.equal(environment['PATH'], process.env['PATH'])
  } finally {
    delete process.env['PLAYHEAD_TAIL_CACHE_BYTES']
  }
})

test('running server: ready when its port answers, gone with its children when stopped', async () => {
  await using directory = await TemporaryDirectory.make()
  const port = await freePort()
  const script = `
    const child = require('node:child_process').spawn('sleep', ['1000'])
    console.log(child.pid)
    require('node:net').createServer().listen(${port}, '127.0.0.1')`
  const logFile = join(directory.path, 'log')
  const server = await RunningServer.start({ name: 'listener', command: node(script), logFile, port })
  const childPid = Number(await readFile(logFile, 'utf8'))
  process.kill(childPid, 0)
  await server.stop()
  for (let tries = 0; tries < 100 && isAlive(childPid); tries++) await new Promise((resolve) => setTimeout(resolve, 20))
  assert.equal(isAlive(childPid), false)
})

test('running server: one that ends at once is an error with what it said', async () => {
  await using directory = await TemporaryDirectory.make()
  const command = node('console.error("bad settings"); process.exit(1)')
  const logFile = join(directory.path, 'log')
  await assert.rejects(
    RunningServer.start({ name: 'broken', command, logFile, port: await freePort() }),
    /broken: found that it ended at once.*bad settings/s,
  )
})

test('bench:rivals: peers that cannot be fetched fail the run, each with the command to run, after one another', async () => {
  await using directory = await TemporaryDirectory.make()
  const run = join(import.meta.dirname, '..', '..', '..', 'bench', 'rivals', 'run.ts')
  const { status, stdout, stderr } = spawnSync(process.execPath, [run, 'nats', 'redis', '--quick', '--without-ours'], {
    encoding: 'utf8',
    env: { PATH: directory.path, HOME: directory.path, TMPDIR: directory.path },
  })
  assert.equal(status, 1, stderr)
  assert.match(
    stderr,
    /error: nats: go: found nothing .*run: sudo apt-get install -y --no-install-recommends golang-go/,
  )
  assert.match(
    stderr,
    /error: redis: redis-server, redis-benchmark: .*run: sudo apt-get install .* redis-server redis-tools/,
  )
  assert.match(stdout, /no result written/)
})

/** A process that has ended but was not waited for (a zombie) is not alive. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  const stat = `/proc/${pid}/stat`
  return !existsSync(stat) || !/\) Z /.test(readFileSync(stat, 'latin1'))
}
