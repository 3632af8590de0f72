/**
 * A cache that cannot be opened or grow any more, for real: somebody holds LMDB's lock and does not let go, so that opening it hangs; the process may have no
 * more addresses, so that its map cannot grow. Needs perl and prlimit, and fails naming them.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { LmdbCheckpointStore } from '../../storage/lmdb-checkpoint-store.ts'
import { requireTool } from '../crash/system-calls.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'

/** Opening takes a fraction of this. */
const hangsMs = 3_000
/** Whatever is not open by then never will be. */
const overdueMs = 30_000

/** A write lock on the whole file, held until the process is killed. struct flock of 64-bit Linux. */
const holdLock =
  'use Fcntl; open(F, "+<", $ARGV[0]) or die $!; my $lock = pack("s s x4 q q i x4", F_WRLCK, 0, 0, 0, 0);' +
  'fcntl(F, F_SETLK, $lock) or die $!; $| = 1; print "held\n"; sleep'

async function hold(path: string): Promise<ChildProcess> {
  const holder = spawn('perl', ['-e', holdLock, path], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(holder.stdout, 'data')
  return holder
}

function open(directory: string): { child: ChildProcess; said: Promise<string> } {
  const script = fileURLToPath(new URL('./open-cache.ts', import.meta.url))
  const child = spawn(process.execPath, [script, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: overdueMs,
    killSignal: 'SIGKILL',
  })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  return { child, said: once(child, 'close').then(() => text) }
}

test('lmdb: an opening that hangs is killed by whoever waits for it; the next start wipes the cache and opens it, though the lock is still held', async () => {
  requireTool('perl', 'apt-get install perl-base')
  await using directory = await TemporaryDirectory.make()
  const cache = join(directory.path, 'cache')
  assert.equal(await open(cache).said, 'open \n')
  const holder = await hold(join(cache, 'lock.mdb'))
  try {
    const hanging = open(cache)
    const ended = await Promise.race([once(hanging.child, 'exit'), wait(hangsMs).then(() => 'hangs')])
    assert.equal(ended, 'hangs')
    assert.equal((JSON.parse(await readFile(join(cache, 'marker.json'), 'utf8')) as { state: string }).state, 'opening')
    hanging.child.kill('SIGKILL')
    assert.equal(await hanging.said, '')
    assert.match(
      await open(cache).said,
      /^open cache .*: the last start ended while opening it; wiped, it is rebuilt from the logs\n$/,
    )
    assert.equal(await open(cache).said, 'open \n')
  } finally {
    holder.kill('SIGKILL')
  }
})

test('lmdb: a map that cannot grow ends the process (LMDB is native code); what was written is there, and the next start goes on with it', async () => {
  await using directory = await TemporaryDirectory.make()
  const cache = join(directory.path, 'cache')
  const script = fileURLToPath(new URL('./full-map.ts', import.meta.url))
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [script, cache], { encoding: 'utf8' })
  assert.ok(signal !== null || status !== 0, stderr)
  const written = stdout.trimEnd().split('\n').length
  assert.ok(written > 10, `${written} written: ${stderr}`)
  const reports: string[] = []
  const report = (_: string, message: string) => reports.push(message)
  const store = await LmdbCheckpointStore.open({ directory: cache, fileSystem: nodeFileSystem, report })
  const lengths = Array.from({ length: written }, (_, number) => store.get(Buffer.from(`k${number}`))?.length)
  assert.deepEqual(new Set(lengths), new Set([1024 * 1024]))
  await store.write([{ key: Buffer.from('more'), value: Buffer.alloc(64 * 1024 * 1024, 1) }])
  await store.close()
  assert.deepEqual([reports, store.stats.badValues], [[], 0])
})
