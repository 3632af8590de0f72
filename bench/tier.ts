/**
 * What a tier costs and gives, against a real S3 server on this machine: `node --conditions=playhead-source bench/tier.ts [MB]`. One JSON line.
 * The history is written, sent and let go; the broker starts again with an empty cache; then a replay from the tier, and a stream that is
 * scattered over twenty tiered segments, cold and warm; then what a tail reader at 5,000 records a second sees beside a replay that is held to
 * 50 MB/s, and without it. MinIO, broker and clients share the machine's processors.
 */
import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { MiB } from '../protocol/limits.ts'
import type { ServedBroker } from '../test/e2e/served-broker.ts'
import { S3Service } from '../test/services/s3-service.ts'
import {
  metric,
  metricReached,
  readHistory,
  scattered,
  serveTiered,
  withClient,
  writeHistory,
} from '../test/services/tiered-history.ts'
import { TemporaryDirectory } from '../test/temporary-directory.ts'
import type { Playhead } from '../client/index.ts'

const bytes = Number(process.argv[2] ?? 512) * MiB
const segmentBytes = Math.max(1 * MiB, Math.floor(bytes / 24))
const valueBytes = 1024
const tailSeconds = 10
const throttledBytesPerSecond = 50_000_000
const history = {
  topic: 'history',
  bytes,
  segmentBytes,
  localBytes: Math.floor(bytes / 20),
  valueBytes,
  scatteredEvery: Math.floor(bytes / valueBytes / 20),
}

async function readScattered(playhead: Playhead): Promise<{ events: number; ms: number }> {
  const startedMs = performance.now()
  let events = 0
  for await (const _ of playhead.topic(history.topic).stream(scattered).read()) events++
  return { events, ms: performance.now() - startedMs }
}

/** User and system time of a process so far, ms. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) * 10
}

/** Processor time of all three for each MB that is read, so that figures mean something on a machine that others use too. */
async function costly(broker: ServedBroker, read: (playhead: Playhead) => Promise<number>) {
  const pids = { broker: broker.pid, minio: service.pid, client: process.pid }
  const before = Object.values(pids).map(cpuMs)
  const mbPerSecond = await withClient(broker, read)
  const mb = (bytes * 1.03) / 1e6
  const cost = Object.entries(pids).map(([name, pid], place) => [
    `${name}CpuMsPerMb`,
    (cpuMs(pid) - (before[place] ?? 0)) / mb,
  ])
  return { mbPerSecond, ...Object.fromEntries(cost) }
}

/** Without looking at the records: what the broker and the tier can do, and not what a digest costs. */
async function replayOnly(playhead: Playhead): Promise<number> {
  const startedMs = performance.now()
  let read = 0
  for await (const batch of playhead.topic(history.topic).replay({ from: 'start' })) read += batch.sizeBytes
  return read / 1e6 / ((performance.now() - startedMs) / 1000)
}

/** End to end, at a rate that no machine finds hard. */
async function tailLatency(broker: ServedBroker): Promise<{ p50: number; p99: number }> {
  const flags = ['--topic', 'tail', '--rate', '5000', '--duration', String(tailSeconds), '--json']
  const text = await broker.ok('bench', 'end-to-end', ...flags)
  const { latencyMs } = JSON.parse(text.trim().split('\n').at(-1) ?? '') as { latencyMs: { p50: number; p99: number } }
  return { p50: latencyMs.p50, p99: latencyMs.p99 }
}

/** Replays from the tier again and again while `work` runs. */
async function besideReplay<T>(
  broker: ServedBroker,
  work: () => Promise<T>,
): Promise<T & { replayMbPerSecond: number }> {
  const over = new AbortController()
  let read = 0
  const startedMs = performance.now()
  const replaying = withClient(broker, async (playhead) => {
    while (!over.signal.aborted)
      for await (const batch of playhead.topic(history.topic).replay({ from: 'start' })) {
        read += batch.sizeBytes
        if (over.signal.aborted) break
      }
  })
  const result = await work()
  const replayMbPerSecond = read / 1e6 / ((performance.now() - startedMs) / 1000)
  over.abort()
  await replaying
  return { ...result, replayMbPerSecond }
}

await using service = await S3Service.minio()
await using directory = await TemporaryDirectory.make()
const location = await service.bucket('bench', 'shop')
const data = join(directory.path, 'data')
const figures: Record<string, unknown> = {
  mb: bytes / MiB,
  node: process.version,
  cpu: cpus()[0]?.model,
  cores: cpus().length,
}
{
  await using broker = await serveTiered(data, location)
  const startedMs = performance.now()
  await withClient(broker, (playhead) => writeHistory(playhead, { ...history, localBytes: -1 }))
  figures.replayFromDisk = await costly(broker, replayOnly)
  figures.writeSeconds = (performance.now() - startedMs) / 1000
  await withClient(broker, (playhead) =>
    playhead.admin.alterTopic(history.topic, { 'local.retention.bytes': String(history.localBytes) }),
  )
  await metricReached(broker, 'playhead_tier_local_bytes', (value) => value > 0 && value <= 2 * history.localBytes)
  await metricReached(broker, 'playhead_tier_unsent_bytes', (value) => value === 0)
  figures.sentSeconds = (performance.now() - startedMs) / 1000
  figures.localMb = (await metric(broker, 'playhead_tier_local_bytes')) / MiB
  await broker.stop()
}
{
  await using broker = await serveTiered(data, location)
  figures.scatteredCold = await withClient(broker, readScattered)
  figures.scatteredWarm = await withClient(broker, readScattered)
  figures.tierRequestsForScattered = await metric(broker, 'playhead_tier_requests_total')
  figures.replayFromTier = await costly(broker, replayOnly)
  figures.replayDigested = await withClient(broker, (playhead) => readHistory(playhead, history.topic))
  figures.rssMb = (await metric(broker, 'process_resident_memory_bytes')) / MiB
}
{
  const flags = ['--tier-read-bytes-per-second-max', String(throttledBytesPerSecond)]
  await using broker = await serveTiered(data, location, flags)
  await tailLatency(broker) // the first one makes the topic, and the code warm
  const alone = await tailLatency(broker)
  const beside = await besideReplay(broker, () => tailLatency(broker))
  figures.tail = { alone, beside, p99Ratio: beside.p99 / alone.p99 }
}
console.log(JSON.stringify(figures))
