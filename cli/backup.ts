/** playhead backup and restore: a data directory copied while its broker goes on, and brought back, also as of a moment before. */
import { resolve } from 'node:path'
import { systemClock } from '../platform/clock.ts'
import { nodeFileSystem } from '../platform/node-file-system.ts'
import { PlayheadError, isPlayheadError } from '../protocol/errors.ts'
import { parseTime } from '../protocol/time.ts'
import { backUp } from '../storage/backup.ts'
import type { BackupMark } from '../storage/backup.ts'
import { DirectoryLock } from '../storage/directory-lock.ts'
import { restore } from '../storage/restore.ts'
import { timeOf } from './arguments.ts'
import { ProgressBar, readingLine, type ReadingProgress } from './progress-bar.ts'
import type { Session } from './session.ts'
import { bytesText, grouped, withUnit } from './text-table.ts'

export async function backupCommand(
  session: Session,
  { data, to }: { readonly data: string; readonly to: string },
): Promise<void> {
  const [directory, target] = [resolve(data), resolve(to)]
  const startedMs = performance.now()
  const result = await backUp({
    fileSystem: nodeFileSystem,
    clock: systemClock,
    directory,
    target,
    marks: await marksOf(session, directory),
  })
  const seconds = (performance.now() - startedMs) / 1000
  if (session.isJson) return session.print({ ...result, target, seconds: Number(seconds.toFixed(3)) })
  await session.printText(
    `backed up ${withUnit(result.topics, 'topic')}, ${withUnit(result.partitions, 'partition')}, ${bytesText(result.bytes)} into ${target}; all that was committed at ${new Date(result.begunAtMs).toISOString()} is in it`,
  )
}

export async function restoreCommand(
  session: Session,
  { from, data, at }: { readonly from: string; readonly data: string; readonly at?: string },
): Promise<void> {
  const directory = resolve(data)
  const bar = new ProgressBar<ReadingProgress>(process.stderr, readingLine)
  const startedMs = performance.now()
  const result = await restore({
    fileSystem: nodeFileSystem,
    clock: systemClock,
    backup: resolve(from),
    directory,
    ...(at !== undefined && { atMs: parseTime(timeOf('--at', at)) }),
    ...(process.stderr.isTTY && {
      onBytes: (bytesRead, bytesTotal) =>
        bar.update({ bytesRead, bytesTotal, elapsedMs: performance.now() - startedMs }),
    }),
  })
  bar.clear()
  const seconds = (performance.now() - startedMs) / 1000
  if (session.isJson) return session.print({ ...result, directory, seconds: Number(seconds.toFixed(3)) })
  const cut = at === undefined ? '' : `, ${grouped(result.batchesCut)} later batches left out`
  await session.printText(
    `restored ${withUnit(result.topics, 'topic')}, ${bytesText(result.bytes)} into ${directory}${cut}; start it: playhead serve --data ${directory}`,
  )
}

/** What the broker that runs there has committed; undefined when it is stopped. */
async function marksOf(session: Session, directory: string): Promise<BackupMark[] | undefined> {
  try {
    await DirectoryLock.checkFree(nodeFileSystem, directory)
    return undefined
  } catch (error) {
    if (!isPlayheadError(error, 'dataDirectoryInUse')) throw error
  }
  return session.connected(async (playhead) => {
    const { dataDirectory } = await playhead.status()
    if (dataDirectory !== directory)
      throw new PlayheadError(
        'invalidArgument',
        `--server: found a broker whose data is in ${dataDirectory}, wanted the one that runs on ${directory}; name it with --server`,
      )
    const marks: BackupMark[] = []
    for (const { topic, topicId } of await playhead.admin.listTopics({ internal: true })) {
      const { partitions } = await playhead.admin.describeTopic(topic)
      for (const { partition, highWatermark } of partitions) marks.push({ topicId, partition, offset: highWatermark })
    }
    return marks
  })
}
