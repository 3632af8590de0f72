/** TierLog while a change is on its way to the store: what goes from the log meanwhile goes from the tier as well. A directory as the store, held where the test says. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../../../platform/clock.ts'
import { nodeFileSystem } from '../../../platform/node-file-system.ts'
import { systemRandom } from '../../../platform/random.ts'
import { parseUuid } from '../../../protocol/uuid.ts'
import { decodeFooter, encodeFooter } from '../../../storage/sidecar-format.ts'
import { ManifestStore } from '../../../storage/tier/manifest-store.ts'
import { openObjectStore } from '../../../storage/tier/tier-location.ts'
import { TierLog } from '../../../storage/tier/tier-log.ts'
import type { TierSegment, TierWriter } from '../../../storage/tier/tier-manifest.ts'
import { TemporaryDirectory } from '../../temporary-directory.ts'

const topicId = '0198c1d2-0000-7000-8000-000000000001'
const writer: TierWriter = { owner: 1, epoch: 1, run: 'run' }

function segment(baseOffset: number, id: string): TierSegment {
  const footerBytes = encodeFooter({
    topicId: parseUuid(topicId),
    partition: 0,
    baseOffset,
    nextOffset: baseOffset + 10,
    leaderEpoch: 0,
    batches: 1,
    records: 10,
    maxTimestamp: 1,
    firstAppendTimeMs: 1,
    lastAppendTimeMs: 1,
    segmentBytes: 100,
    segmentChecksum: 1,
    previousChecksum: 0,
    compaction: 0,
    streams: 0,
    bodyBytes: 10,
    bodyChecksum: 1,
  })
  return { id, footer: decodeFooter(footerBytes)!, footerBytes, head: Buffer.alloc(8), indexSums: Buffer.alloc(4) }
}

/** Calls `between` once, when the next manifest is on its way. */
class HeldManifests extends ManifestStore {
  between: () => void = () => undefined

  override async replace(...manifest: Parameters<ManifestStore['replace']>): ReturnType<ManifestStore['replace']> {
    this.between()
    this.between = () => undefined
    return await super.replace(...manifest)
  }
}

interface Opened {
  readonly log: TierLog
  readonly manifests: HeldManifests
  /** By the newest manifest. */
  readonly named: () => Promise<string[]>
}

async function open(path: string): Promise<Opened> {
  const [fileSystem, clock, random] = [nodeFileSystem, systemClock, systemRandom]
  const store = await openObjectStore(`file://${join(path, 'tier')}`, { fileSystem, clock, random })
  const manifests = new HeldManifests(store, clock)
  const log = new TierLog({ fileSystem, clock, random, store, manifests, directory: join(path, 'copies') }, topicId, 0)
  const named = async () => (await manifests.latest(topicId, 0))!.segments.map(({ id }) => id)
  return { log, manifests, named }
}

test('tier log: a segment that is removed while the change that adds it is on its way is in sight of nobody, and goes with the next change', async () => {
  await using directory = await TemporaryDirectory.make()
  const { log, manifests, named } = await open(directory.path)
  await log.change({ add: [segment(0, 'a')] }, writer)
  manifests.between = () => log.hide(10, 'removed')
  await log.change({ add: [segment(10, 'b')] }, writer)
  assert.deepEqual([log.segmentCount, log.endOffset, log.isHidden(10), log.hasRemoved], [1, 10, true, true])
  await log.change({}, writer)
  assert.deepEqual([await named(), log.isHidden(10), log.isBehind], [['a'], false, false])
})

test('tier log: a segment that is removed while what was made of it takes its place goes with the next change', async () => {
  await using directory = await TemporaryDirectory.make()
  const { log, manifests, named } = await open(directory.path)
  await log.change({ add: [segment(0, 'a'), segment(10, 'b')] }, writer)
  log.hide(0, 'replaced')
  manifests.between = () => log.hide(0, 'removed')
  await log.change({ add: [segment(0, 'a2')] }, writer)
  assert.deepEqual([log.segments.map(({ id }) => id), log.hasRemoved], [['b'], true])
  await log.change({}, writer)
  assert.deepEqual([await named(), log.isBehind], [['b'], false])
})

test('tier log: a newer run of the same owner shuts the older one out', async () => {
  await using directory = await TemporaryDirectory.make()
  const first = await open(directory.path)
  await first.log.change({ add: [segment(0, 'a')] }, writer)
  const later = await open(directory.path)
  await later.log.change({ add: [segment(10, 'b')], logEndOffset: 20 }, { ...writer, epoch: 2, run: 'later' })
  await assert.rejects(first.log.change({ add: [segment(10, 'c')] }, writer), { code: 'tierFenced' })
})
