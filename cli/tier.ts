/** playhead tier ls, verify, restore: the object storage behind a broker, looked at without one. The work is storage/tier's. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { systemClock } from '../platform/clock.ts'
import { nodeFileSystem } from '../platform/node-file-system.ts'
import { systemRandom } from '../platform/random.ts'
import { tierLogs, verifyTier } from '../storage/tier/tier-check.ts'
import type { TierLogFound } from '../storage/tier/tier-check.ts'
import { openObjectStore } from '../storage/tier/tier-location.ts'
import type { ObjectStore } from '../storage/tier/object-store.ts'
import { restoreTier } from '../storage/tier/tier-restore.ts'
import type { RestoredPartition } from '../storage/tier/tier-restore.ts'
import { exitDone, exitFailed } from './failure-report.ts'
import type { Session } from './session.ts'
import { bytesText, table, withUnit } from './text-table.ts'

const foundation = { fileSystem: nodeFileSystem, clock: systemClock, random: systemRandom }

export async function listTier(
  session: Session,
  topic: string | undefined,
  { tier }: { readonly tier: string },
): Promise<void> {
  await withStore(tier, async (store, scratchDirectory) => {
    const rows: ReturnType<typeof rowOf>[] = []
    for await (const found of tierLogs({ ...foundation, store, scratchDirectory }))
      if (topic === undefined || found.topic.name === topic) rows.push(rowOf(found))
    if (session.isJson) {
      for (const row of rows) await session.print(row)
      return
    }
    const head = ['topic', 'partition', 'segments', 'records', 'from', 'to', 'size', 'last append']
    const cells = rows.map((row) => [
      row.topic,
      row.partition,
      row.segments,
      row.records,
      row.startOffset,
      row.endOffset,
      bytesText(row.bytes),
      row.lastAppend ?? '-',
    ])
    await session.printText(table(head, cells))
  })
}

/** Answers the exit code. */
export async function verifyTierCommand(session: Session, { tier }: { readonly tier: string }): Promise<number> {
  return await withStore(tier, async (store, scratchDirectory) => {
    const verdict = await verifyTier({ ...foundation, store, scratchDirectory }, () => undefined)
    const { damage, partitions, segments, records, bytes } = verdict
    if (session.isJson) await session.print(verdict)
    else {
      const counts = [withUnit(partitions, 'partition'), withUnit(segments, 'segment'), withUnit(records, 'record')]
      const outcome = damage.length === 0 ? 'no damage' : withUnit(damage.length, 'damaged segment')
      await session.printText(`verified ${counts.join(', ')}, ${bytesText(bytes)}: ${outcome}`)
    }
    for (const { topic, partition, problem } of damage)
      session.note(`error: damaged-data: ${topic}/${partition}: ${problem}`)
    return damage.length === 0 ? exitDone : exitFailed
  })
}

export async function restoreCommand(
  session: Session,
  { from, data }: { readonly from: string; readonly data: string },
): Promise<void> {
  await withStore(from, async (store) => {
    const dataDirectory = resolve(data)
    const partitions = await restoreTier({ ...foundation, store, location: from, dataDirectory })
    if (session.isJson) {
      await session.print({ dataDirectory, partitions })
      return
    }
    const head = ['topic', 'partition', 'segments', 'records', 'end offset', 'size', 'last append']
    const cells = partitions.map((each) => [
      each.topic,
      each.partition,
      each.segments,
      each.records,
      each.endOffset,
      bytesText(each.bytes),
      timeText(each.lastAppendTimeMs) ?? '-',
    ])
    const next = `\n${missingText(partitions)}\nserve it with: playhead serve --data ${dataDirectory} --tier '${from}'`
    await session.printText(table(head, cells) + next)
  })
}

function missingText(partitions: readonly RestoredPartition[]): string {
  const lines = ['What was appended after the last append above, and was not sent, is not here.']
  for (const { topic, partition, missing } of partitions)
    for (const { offset, nextOffset } of missing)
      lines.push(`${topic}/${partition}: offsets ${offset} to ${nextOffset - 1} were never sent: they were damaged`)
  return lines.join('\n')
}

function rowOf({ topic, log }: TierLogFound) {
  const { segments } = log
  let [records, bytes, lastMs] = [0, 0, -1]
  for (const { footer } of segments) {
    records += footer.records
    bytes += footer.segmentBytes + footer.bodyBytes
    lastMs = Math.max(lastMs, footer.lastAppendTimeMs)
  }
  return {
    topic: topic.name,
    partition: log.partition,
    segments: segments.length,
    records,
    startOffset: segments[0]?.footer.baseOffset ?? 0,
    endOffset: segments.at(-1)?.footer.nextOffset ?? 0,
    bytes,
    lastAppend: timeText(lastMs < 0 ? null : lastMs),
    manifest: log.manifest?.sequence ?? 0,
  }
}

function timeText(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString()
}

async function withStore<T>(location: string, use: (store: ObjectStore, scratch: string) => Promise<T>): Promise<T> {
  const store = await openObjectStore(location, foundation)
  const scratch = await mkdtemp(join(tmpdir(), 'playhead-tier-'))
  try {
    return await use(store, scratch)
  } finally {
    await store.close()
    await rm(scratch, { recursive: true, force: true })
  }
}
