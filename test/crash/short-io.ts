/**
 * ShortIo: a library that makes a broker's reads and writes come back short (short-io.c), made with gcc, and the load under it. The kernel does this rarely,
 * at signals and at full disks, and nothing can be asked to inject it: strace skips a call or fails it whole. Neighbours: load-run.ts, run.ts.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { faults } from './faults.ts'
import { loadRun } from './load-run.ts'
import { makePreloadLibrary } from './preload-library.ts'
import type { Tally } from './tally.ts'

/** Load and kills as ever, and one in four reads and writes cut short. */
export async function shortIoRun(seed: number, rounds: number, tally: Tally): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'playhead-short-'))
  try {
    const library = await makePreloadLibrary(join(import.meta.dirname, 'short-io.c'), directory)
    const counts = join(directory, 'counts')
    await writeFile(counts, Buffer.alloc(16))
    const environment = { LD_PRELOAD: library, SHORT_COUNT: counts, SHORT_SEED: String(seed) }
    const times = async () => {
      const found = await readFile(counts)
      const [reads, writes] = [Number(found.readBigUInt64LE(0)), Number(found.readBigUInt64LE(8))]
      if (reads === 0 || writes === 0)
        tally.found(`${faults.shortTransfer}, seed ${seed}: found ${reads} reads and ${writes} writes cut, wanted some`)
      return reads + writes
    }
    await loadRun({ seed, rounds, fault: faults.shortTransfer, environment, times }, tally)
  } finally {
    await rm(directory, { recursive: true })
  }
}
