/**
 * Single flipped bits in the cache's LMDB file: streams and versions are served as they were written, or the cache is wiped and they are served from
 * the log; a flip that ends the process does so a few times at most. 40 flips, or PLAYHEAD_TEST_RUNS of them (`npm run test:flips`); a failing run prints its
 * seed and the flip, PLAYHEAD_TEST_SEED repeats it.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { LmdbCheckpointStore } from '../../storage/lmdb-checkpoint-store.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { SeededRandom } from './seeded-random.ts'
import { group, StoreUnderTest } from './store-under-test.ts'

const flips = Number(process.env['PLAYHEAD_TEST_RUNS'] ?? 40)
/** One more than runs may end before the cache is wiped (lmdb-checkpoint-store.ts). */
const endingsMax = 11
/** A flip that makes nothing happen for so long hangs; the process is killed, as a user would. */
const silentMsMax = 30_000

/** A cache of some hundred pages: many streams, long ones with chunks, and saves between, so that old pages are left in the file. */
async function fill(directory: string): Promise<Record<string, number>> {
  const cache = join(directory, 'cache')
  const checkpointStore = await LmdbCheckpointStore.open({
    directory: cache,
    fileSystem: nodeFileSystem,
    report: () => {},
  })
  await using opened = await StoreUnderTest.open(directory, { checkpointStore })
  const log = await opened.createLog('carts')
  const counts: Record<string, number> = {}
  for (let round = 0; round < 24; round++) {
    const events = Array.from({ length: 100 }, (_, place) => {
      const stream = place % 10 === 0 ? `long-${place % 3}` : `s-${round % 2}-${place}`
      const version = counts[stream] ?? 0
      counts[stream] = version + 1
      return `${stream}=${stream} ${version}`
    })
    await log.append(group(events))
    if (round % 6 === 5) await log.checkpointer.save()
  }
  return counts
}

interface Endings {
  readonly byFlip: Map<number, string[]>
  readonly named: number
}

/** Runs the flips in processes, one after the other: the next one goes on where one ended. */
async function runFlips(directory: string, seed: number): Promise<Endings> {
  const script = fileURLToPath(new URL('./flipped-cache.ts', import.meta.url))
  const byFlip = new Map<number, string[]>()
  let [next, named] = [0, 0]
  for (;;) {
    const child = spawn(process.execPath, [script, directory, String(seed), String(next), String(flips)])
    let stderr = ''
    const silence = setTimeout(() => child.kill('SIGKILL'), silentMsMax)
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-4000)
    })
    let stdout = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      silence.refresh()
      const lines = (stdout + text).split('\n')
      stdout = lines.pop()!
      for (const line of lines) if (!line.endsWith(' []')) named++
      next += lines.length
    })
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
    clearTimeout(silence)
    if (code === 0) return { byFlip, named }
    const endings = byFlip.get(next) ?? []
    byFlip.set(next, [...endings, signal ?? `exit code ${code}`])
    const where = `seed ${seed}, flip ${next}: ${[...endings, signal].join()}: ${stderr}`
    // A signal is LMDB's doing; an exit code is ours: something wrong was served, or a bug.
    assert.ok(signal !== null, where)
    assert.ok(endings.length < endingsMax, `never comes up again: ${where}`)
  }
}

test(`cache flips: any one bit of the cache's file (${flips} flips)`, async (t) => {
  const { seed } = SeededRandom.fresh()
  await using directory = await TemporaryDirectory.make()
  const counts = await fill(join(directory.path, 'origin'))
  await writeFile(join(directory.path, 'counts.json'), JSON.stringify(counts))
  const { byFlip, named } = await runFlips(directory.path, seed)
  const worst = Math.max(0, ...Array.from(byFlip.values(), ({ length }) => length))
  t.diagnostic(`seed ${seed}: ${flips} flips, ${named} named, ${byFlip.size} ended the process, ${worst} times at most`)
})
