/**
 * A history that is larger than its local retention: written to a served broker with a tier, sent, let go, and read again. For the tests of the
 * services layer, and for bench/tier.ts, which measures the same.
 */
import { createHash } from 'node:crypto'
import { connect } from '../../client/index.ts'
import type { Playhead } from '../../client/index.ts'
import { MiB } from '../../protocol/limits.ts'
import { ServedBroker } from '../e2e/served-broker.ts'

/** A stream with one event in every so many of all records. */
export const scattered = 'scattered'

const bytesHeaders = [
  { key: 'type', value: Buffer.from('Noted') },
  { key: 'content-type', value: Buffer.from('application/octet-stream') },
]

export interface History {
  readonly topic: string
  readonly bytes: number
  readonly segmentBytes: number
  readonly localBytes: number
  readonly valueBytes: number
  /** Records from one event of the scattered stream to the next. */
  readonly scatteredEvery: number
  /** In a cluster. */
  readonly replicationFactor?: number
}

export interface ReadHistory {
  readonly digest: string
  readonly records: number
  readonly bytes: number
  readonly seconds: number
}

export async function serveTiered(
  directory: string,
  location: string,
  flags: readonly string[] = [],
): Promise<ServedBroker> {
  return ServedBroker.start(directory, ['--tier', location, '--tier-upload-interval-ms', '1000', ...flags])
}

export async function withClient<T>(broker: ServedBroker, use: (playhead: Playhead) => Promise<T>): Promise<T> {
  const playhead = await connect(broker.server, { timeoutMs: 60_000 })
  try {
    return await use(playhead)
  } finally {
    await playhead.close()
  }
}

/** Answers what a reader must find. */
export async function writeHistory(playhead: Playhead, history: History): Promise<Omit<ReadHistory, 'seconds'>> {
  const { topic, bytes, segmentBytes, localBytes, valueBytes, scatteredEvery, replicationFactor } = history
  await playhead.admin.createTopic(topic, {
    ...(replicationFactor !== undefined && { replicationFactor }),
    settings: {
      'segment.bytes': String(segmentBytes),
      'local.retention.bytes': String(localBytes),
      'max.message.bytes': String(2 * MiB),
    },
  })
  const records = Math.floor(bytes / valueBytes)
  const filler = Buffer.alloc(valueBytes)
  for (let at = 0; at < valueBytes; at++) filler[at] = (at * 31) & 0xff
  const hash = createHash('sha256')
  await using producer = playhead.topic(topic).producer()
  for (let record = 0; record < records; record++) {
    const value = Buffer.from(filler)
    value.writeUInt32LE(record, 0)
    const timestamp = 1_700_000_000_000 + record
    const isScattered = record % scatteredEvery === 0
    const key = isScattered ? scattered : `customer-${record % 1000}`
    hash.update(`${record} ${timestamp} ${key} `)
    hash.update(value)
    const full = producer.send({ key, value, timestamp, ...(isScattered && { headers: bytesHeaders }) })
    if (full !== undefined) await full
  }
  await producer.flush()
  return { digest: hash.digest('hex'), records, bytes: records * valueBytes }
}

/** Goes through everything and digests every field of every record. */
export async function readHistory(playhead: Playhead, topic: string): Promise<ReadHistory> {
  const hash = createHash('sha256')
  const startedMs = performance.now()
  let [records, bytes] = [0, 0]
  for await (const batch of playhead.topic(topic).replay({ from: 'start' })) {
    for (const record of batch) {
      const { offset, key, value, timestamp } = record
      hash.update(`${offset} ${timestamp} ${String(key)} `)
      hash.update(value ?? Buffer.alloc(0))
      records++
      bytes += value?.length ?? 0
    }
  }
  return { digest: hash.digest('hex'), records, bytes, seconds: (performance.now() - startedMs) / 1000 }
}

/** One number of the broker's metrics. */
export async function metric(broker: ServedBroker, name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${broker.httpPort}/metrics`)).text()
  const line = text.split('\n').find((each) => each.startsWith(`${name} `))
  if (line === undefined) throw new Error(`no metric ${name}`)
  return Number(line.slice(name.length + 1))
}

/** Resolves when the metric is what `holds` wants. */
export async function metricReached(
  broker: ServedBroker,
  name: string,
  holds: (value: number) => boolean,
): Promise<void> {
  while (!holds(await metric(broker, name))) await new Promise((resolve) => setTimeout(resolve, 50))
}
