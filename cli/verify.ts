/** playhead verify: every byte of a data directory, offline. What it read goes to stdout, each damage to stderr, a line of its own. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { systemClock } from '../platform/clock.ts'
import { nodeFileSystem } from '../platform/node-file-system.ts'
import type { DamageFound, Progress } from '../storage/verify-findings.ts'
import { verify as verifyDirectory } from '../storage/verify.ts'
import { exitDone, exitFailed } from './failure-report.ts'
import { ProgressBar, readingLine, type ReadingProgress } from './progress-bar.ts'
import type { Session } from './session.ts'
import { bytesText, withUnit } from './text-table.ts'
import { WorkerProcesses } from './verify-workers.ts'

/** Answers the exit code. Throws what keeps it from looking: a broker that runs there, a directory that is none, a newer format. */
export async function verify(session: Session, { data }: { readonly data: string }): Promise<number> {
  const directory = resolve(data)
  const scratchDirectory = await mkdtemp(join(tmpdir(), 'playhead-verify-'))
  const bar = new ProgressBar<ReadingProgress>(process.stderr, readingLine)
  const startedMs = performance.now()
  try {
    using workers = new WorkerProcesses()
    const result = await verifyDirectory({
      directory,
      fileSystem: nodeFileSystem,
      clock: systemClock,
      scratchDirectory,
      workers,
      ...(process.stderr.isTTY && {
        onBytes: (bytesRead, bytesTotal) =>
          bar.update({ bytesRead, bytesTotal, elapsedMs: performance.now() - startedMs }),
      }),
    })
    bar.clear()
    const { damage, notes, ...counts } = result
    if (session.isJson) await session.print(result)
    else
      await session.printText([...notes.map((note) => `note: ${note}`), summaryText(counts, damage.length)].join('\n'))
    for (const found of damage) session.note(`error: damaged-data: ${damageText(found)}`)
    return damage.length === 0 ? exitDone : exitFailed
  } finally {
    await rm(scratchDirectory, { recursive: true, force: true })
  }
}

function summaryText({ partitions, segments, batches, records, bytes }: Progress, damage: number): string {
  const parts = [
    withUnit(partitions, 'partition'),
    withUnit(segments, 'segment'),
    withUnit(batches, 'batch'),
    withUnit(records, 'record'),
    bytesText(bytes),
  ]
  return `verified ${parts.join(', ')}: ${damage === 0 ? 'no damage' : withUnit(damage, 'damaged place')}`
}

function damageText({ file, position, offset, reason }: DamageFound): string {
  return `${file} position ${position}${offset === undefined ? '' : ` offset ${offset}`}: ${reason}`
}
