import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { sleep, systemClock } from '../../platform/clock.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { systemRandom } from '../../platform/random.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { ClusterImage } from '../../replication/cluster-image.ts'
import { LocalMetadataStore } from '../../replication/local-metadata-store.ts'
import { metadataKeys } from '../../replication/metadata-keys.ts'
import { writeRecord } from '../../replication/metadata-records.ts'
import type { MetadataStore } from '../../replication/metadata-store.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'

interface Under {
  readonly store: LocalMetadataStore
  /** The same store as the image sees it. */
  readonly seen: MetadataStore
  /** How it fails, and how often it was asked for everything. */
  readonly wire: { failures: number; error: Error; ranges: number; hints: boolean }
  readonly said: string[]
  readonly open: () => Promise<ClusterImage>
}

async function withStore(run: (under: Under) => Promise<void>): Promise<void> {
  await using directory = await TemporaryDirectory.make()
  const path = join(directory.path, 'metadata.json')
  const store = await LocalMetadataStore.open({
    path,
    fileSystem: nodeFileSystem,
    clock: systemClock,
    random: systemRandom,
  })
  const wire = { failures: 0, error: new PlayheadError('unavailable', 'away'), ranges: 0, hints: true }
  const said: string[] = []
  const seen: MetadataStore = {
    get: (key) => (wire.failures-- > 0 ? Promise.reject(wire.error) : store.get(key)),
    range: (prefix) => {
      wire.ranges++
      return wire.failures-- > 0 ? Promise.reject(wire.error) : store.range(prefix)
    },
    transact: (transaction) => store.transact(transaction),
    grantLease: (ttlMs) => store.grantLease(ttlMs),
    keepLease: (leaseId) => store.keepLease(leaseId),
    revokeLease: (leaseId) => store.revokeLease(leaseId),
    watch: (prefix, onHint) => store.watch(prefix, (key) => wire.hints && onHint(key)),
    close: () => store.close(),
  }
  const report = (_: string, message: string) => void said.push(message)
  const images: ClusterImage[] = []
  const open = async () => {
    const image = await ClusterImage.open({ store: seen, clock: systemClock, report })
    images.push(image)
    return image
  }
  try {
    await run({ store, seen, wire, said, open })
  } finally {
    for (const image of images) await image.close()
    await store.close()
  }
}

const put = (store: MetadataStore, key: string, value: string) =>
  store.transact({ compares: [], changes: [{ kind: 'put', key, value }] })
const remove = (store: MetadataStore, key: string) =>
  store.transact({ compares: [], changes: [{ kind: 'delete', key }] })
const throttle = (bytesPerSecond: number) => writeRecord({ bytesPerSecond })

async function until(holds: () => boolean): Promise<void> {
  for (let tries = 0; tries < 200 && !holds(); tries++) await sleep(systemClock, 20)
  assert.ok(holds(), 'not after four seconds')
}

test('a hint leads to a read of that key alone; whoever listens hears what changed', () =>
  withStore(async ({ store, wire, open }) => {
    const image = await open()
    await until(() => wire.ranges >= 2) // the first one, and the watch's
    const { ranges } = wire
    const heard: string[] = []
    image.onChange((keys) => heard.push(...keys))
    await put(store, metadataKeys.throttle, throttle(5))
    await until(() => image.state.throttleBytesPerSecond === 5)
    await remove(store, metadataKeys.throttle)
    await until(() => image.state.throttleBytesPerSecond === undefined)
    assert.deepEqual([wire.ranges, heard], [ranges, [metadataKeys.throttle, metadataKeys.throttle]])
  }))

test('a read of everything that fails is made again, without another hint, and whoever waits for it waits on', () =>
  withStore(async ({ store, wire, said, open }) => {
    const image = await open()
    await until(() => wire.ranges >= 2)
    wire.hints = false
    await put(store, metadataKeys.throttle, throttle(7))
    wire.failures = 3
    await image.refresh()
    assert.equal(image.state.throttleBytesPerSecond, 7)
    assert.deepEqual(said, ['away; the cluster stays as it was until then', 'the metadata store answers again'])
  }))

test('a key that could not be read is read again', () =>
  withStore(async ({ store, wire, open }) => {
    const image = await open()
    await until(() => wire.ranges >= 2)
    wire.failures = 2
    await put(store, metadataKeys.throttle, throttle(9))
    await until(() => image.state.throttleBytesPerSecond === 9)
  }))

test('a store that refuses for good makes opening fail; one that is away does not', () =>
  withStore(async ({ wire, open }) => {
    wire.error = new PlayheadError('metadataStoreReplaced', 'another one')
    wire.failures = 1_000
    await assert.rejects(open(), { code: 'metadataStoreReplaced' })
    wire.error = new PlayheadError('unavailable', 'away')
    wire.failures = 3
    await open()
  }))

test('a record that cannot be read is named and leaves the one before it in place; a later one counts', () =>
  withStore(async ({ store, said, open }) => {
    const image = await open()
    await put(store, metadataKeys.throttle, throttle(5))
    await until(() => image.state.throttleBytesPerSecond === 5)
    await put(store, metadataKeys.throttle, '{"bytesPerSecond":"fast"}')
    await until(() =>
      said.some((message) => message.startsWith(`metadata key ${metadataKeys.throttle}: found bytesPerSecond "fast"`)),
    )
    assert.equal(image.state.throttleBytesPerSecond, 5)
    await put(store, metadataKeys.throttle, throttle(6))
    await until(() => image.state.throttleBytesPerSecond === 6)
  }))
