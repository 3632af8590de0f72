/**
 * What a tier costs and gives, against a real S3 server on this machine: `node --conditions=playhead-source bench/tier.ts [MB]`. One JSON line.
 * The history is written, sent and let go; the broker starts again with an empty cache; then a replay from the tier, and a stream that is
 * scattered over twenty tiered segments, cold and warm. MinIO, broker and client share the machine's processors.
 */
import { cpus } from 'node:os'
import { join } from 'node:path'
import { MiB } from '../protocol/limits.ts'
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

/** Without looking at the records: what the broker and the tier can do, and not what a digest costs. */
async function replayOnly(playhead: Playhead): Promise<number> {
  const startedMs = performance.now()
  let read = 0
  for await (const batch of playhead.topic(history.topic).replay({ from: 'start' })) read += batch.sizeBytes
  return read / 1e6 / ((performance.now() - startedMs) / 1000)
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
  await withClient(broker, (playhead) => writeHistory(playhead, history))
  figures.writeSeconds = (performance.now() - startedMs) / 1000
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
  figures.replayMbPerSecond = await withClient(broker, replayOnly)
  figures.replayDigested = await withClient(broker, (playhead) => readHistory(playhead, history.topic))
  figures.rssMb = (await metric(broker, 'process_resident_memory_bytes')) / MiB
}
console.log(JSON.stringify(figures))
