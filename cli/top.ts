/**
 * playhead top: what a broker is doing, renewed every few seconds: rates of each topic, what named readers have still to read, processor time and memory. On a
 * terminal one screen that renews itself; elsewhere, or with --once, one reading. Ctrl-C ends it.
 */
import type { BrokerStatus, Playhead } from '../client/index.ts'
import { sleep, systemClock } from '../platform/clock.ts'
import { isPlayheadError } from '../protocol/errors.ts'
import { interruptible } from './session.ts'
import type { Session } from './session.ts'
import { bytesText, grouped, table } from './text-table.ts'

const intervalMsDefault = 2_000
const topicsShownMax = 20
const clearScreen = '\u001B[H\u001B[2J'

interface TopicReading {
  readonly topic: string
  readonly records: number
  readonly bytes: number
  readonly partitions: number
  readonly damage: number
  /** Records not yet read, by the readers that stand in the topic. */
  readonly lag: readonly { readonly name: string; readonly records: number }[]
}

interface Reading {
  readonly atMs: number
  readonly status: BrokerStatus
  readonly topics: readonly TopicReading[]
}

export async function top(
  session: Session,
  { interval, once }: { readonly interval?: number; readonly once?: boolean },
): Promise<void> {
  const intervalMs = interval === undefined ? intervalMsDefault : interval * 1000
  const isLive = process.stdout.isTTY && once !== true && !session.isJson
  await interruptible(
    (signal) =>
      session.connected(async (playhead) => {
        let before = await read(playhead)
        for (;;) {
          await sleep(systemClock, intervalMs, signal)
          const now = await read(playhead)
          const seen = rates(before, now)
          if (session.isJson) await session.print(seen)
          else await session.printText(`${isLive ? clearScreen : ''}${screen(now, seen)}`)
          if (!isLive) return
          before = now
        }
      }, signal),
    () => 'ended',
  )
}

async function read(playhead: Playhead): Promise<Reading> {
  const status = await playhead.status()
  const topics: TopicReading[] = []
  for (const { topic } of await playhead.admin.listTopics()) {
    try {
      topics.push(await readTopic(playhead, topic))
    } catch (error) {
      if (!isPlayheadError(error, 'unknownTopic')) throw error // deleted meanwhile
    }
  }
  return { atMs: performance.now(), status, topics }
}

async function readTopic(playhead: Playhead, topic: string): Promise<TopicReading> {
  const { partitions } = await playhead.admin.describeTopic(topic)
  const sum = (of: (partition: (typeof partitions)[number]) => number): number =>
    partitions.reduce((total, partition) => total + of(partition), 0)
  const lag = []
  for (const { name, positions } of await playhead.topic(topic).playheads()) {
    const offsets = new Map(positions.map(({ partition, offset }) => [partition, offset]))
    const records = sum(({ partition, highWatermark, logStartOffset }) =>
      Math.max(0, highWatermark - Math.max(logStartOffset, offsets.get(partition) ?? 0)),
    )
    lag.push({ name, records })
  }
  return {
    topic,
    records: sum(({ highWatermark }) => highWatermark),
    bytes: sum(({ sizeBytes }) => sizeBytes),
    partitions: partitions.length,
    damage: sum(({ damage }) => damage.length),
    lag,
  }
}

interface Rates {
  readonly seconds: number
  /** Of one processor: 1 = all of it. */
  readonly processor: number
  readonly memoryBytes: number
  readonly connections: number
  readonly problems: number
  readonly topics: readonly (TopicReading & { readonly recordsPerSecond: number; readonly bytesPerSecond: number })[]
}

function rates(before: Reading, now: Reading): Rates {
  const seconds = (now.atMs - before.atMs) / 1000
  const earlier = new Map(before.topics.map((topic) => [topic.topic, topic]))
  const perSecond = (amount: number): number => Math.max(0, Math.round(amount / seconds))
  return {
    seconds: Number(seconds.toFixed(3)),
    processor: Number(((now.status.cpuMs - before.status.cpuMs) / 1000 / seconds).toFixed(3)),
    memoryBytes: now.status.rssBytes,
    connections: now.status.connections,
    problems: now.status.problems.length,
    topics: now.topics
      .map((topic) => {
        const old = earlier.get(topic.topic) ?? topic
        return {
          ...topic,
          recordsPerSecond: perSecond(topic.records - old.records),
          bytesPerSecond: perSecond(topic.bytes - old.bytes),
        }
      })
      .toSorted((a, b) => b.recordsPerSecond - a.recordsPerSecond || b.bytes - a.bytes),
  }
}

function screen({ status }: Reading, seen: Rates): string {
  const total = seen.topics.reduce((sum, { recordsPerSecond }) => sum + recordsPerSecond, 0)
  const head = `playhead ${status.release}, broker ${status.brokerId}, up ${grouped(Math.round(status.uptimeMs / 1000))} s: ${grouped(total)} records/s, processor ${(seen.processor * 100).toFixed(0)} %, memory ${bytesText(seen.memoryBytes)}, connections ${grouped(seen.connections)}, problems ${seen.problems}`
  const shown = seen.topics.slice(0, topicsShownMax)
  const topics = table(
    ['topic', 'records/s', 'grows by', 'records', 'on disk', 'damaged'],
    shown.map(({ topic, recordsPerSecond, bytesPerSecond, records, bytes, damage }) => [
      topic,
      recordsPerSecond,
      `${bytesText(bytesPerSecond)}/s`,
      records,
      bytesText(bytes),
      damage,
    ]),
  )
  const readers = seen.topics.flatMap(({ topic, lag }) =>
    lag.map(({ name, records }) => [topic, name, records] as const),
  )
  const hidden = seen.topics.length - shown.length
  return [
    head,
    '',
    topics,
    ...(hidden > 0 ? [`and ${grouped(hidden)} more`] : []),
    ...(readers.length === 0 ? [] : ['', table(['topic', 'reader', 'still to read'], readers)]),
  ].join('\n')
}
