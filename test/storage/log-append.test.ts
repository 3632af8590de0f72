/** Appends to one log: places, versions, conditions, retries, refusals, bad input. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPlayheadError, PlayheadError } from '../../protocol/errors.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import { encodeRecordBatch } from '../../protocol/record-batch.ts'
import type { Log } from '../../storage/log.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { FaultyFileSystem } from './faulty-file-system.ts'
import { eventsOf, recordsOf } from './log-contents.ts'
import { append, group, StoreUnderTest, until } from './store-under-test.ts'

const failsWith = (code: ErrorCode) => (error: unknown) => isPlayheadError(error, code)

function onLog(
  name: string,
  run: (log: Log, opened: StoreUnderTest, fileSystem: FaultyFileSystem) => Promise<void>,
): void {
  test(`append: ${name}`, async () => {
    await using directory = await TemporaryDirectory.make()
    const fileSystem = new FaultyFileSystem()
    await using opened = await StoreUnderTest.open(directory.path, { fileSystem })
    await run(await opened.createLog(), opened, fileSystem)
    assert.deepEqual(opened.failures, [])
  })
}

onLog('offsets and versions follow the order of the appends (3 streams, a null key)', async (log) => {
  const first = await log.append(group(['a=1', 'b=1', '=none', 'a=2'], { wantVersions: true }))
  assert.deepEqual([first.baseOffset, first.endOffset, first.duplicate], [0, 4, false])
  assert.deepEqual(first.versions, [0, 0, -1, 1])
  const second = await log.append(group(['c=1', 'a=3', 'b=2'], { wantVersions: true }))
  assert.deepEqual(second.versions, [0, 2, 1])
  assert.ok(second.appendTimeMs >= first.appendTimeMs)
  assert.deepEqual(await recordsOf(log), ['a=1', 'b=1', '=none', 'a=2', 'c=1', 'a=3', 'b=2'])
  const none = { wantVersions: true, batchOptions: { producerId: 3, producerEpoch: 0, baseSequence: 0 } }
  for (const _ of ['first', 'retry']) assert.deepEqual((await log.append(group(['=x', '=y'], none))).versions, [-1, -1])
  assert.deepEqual(await eventsOf(log, 'a'), ['0=1', '1=2', '2=3'])
  assert.deepEqual(log.streamInfo('a', Infinity), { lastVersion: 2, firstVersion: 0, lastOffset: 5 })
  assert.deepEqual(log.streamInfo('nobody', Infinity), { lastVersion: -1, firstVersion: -1, lastOffset: -1 })
})

onLog('appends handed over in one turn share groups and keep their order (500 appends)', async (log) => {
  const results = await Promise.all(Array.from({ length: 500 }, (_, place) => append(log, `s${place % 7}=${place}`)))
  assert.deepEqual(
    results.map(({ baseOffset }) => baseOffset),
    Array.from({ length: 500 }, (_, place) => place),
  )
  assert.ok(log.stats.groups < 100, `found ${log.stats.groups} groups`)
  assert.equal((await recordsOf(log)).length, 500)
})

onLog('of 200 racers with the same expectation one wins, and the others hear what they found', async (log) => {
  await append(log, 'cart=0')
  const race = (place: number) =>
    log.append(group([`cart=${place}`, `other=${place}`], { expected: [{ stream: 'cart', version: 0 }] }))
  const results = await Promise.allSettled(Array.from({ length: 200 }, (_, place) => race(place)))
  const lost = results.filter((result) => result.status === 'rejected')
  assert.equal(lost.length, 199)
  for (const { reason } of lost) {
    assert.ok(reason instanceof PlayheadError)
    assert.equal(reason.code, 'wrongExpectedVersion')
    assert.deepEqual(reason.conflicts, [{ stream: 'cart', expected: 0, found: 1 }])
    assert.equal(reason.message, 'carts/cart: expected 0, found 1')
  }
  assert.equal((await recordsOf(log)).length, 3)
})

onLog('conditions on streams that are not written, and every failing one is named', async (log) => {
  await append(log, 'a=0', 'a=1', 'b=0')
  const expected = [
    { stream: 'a', version: 1 },
    { stream: 'b', version: -1 },
    { stream: 'c', version: 4 },
  ]
  await assert.rejects(log.append(group(['d=0'], { expected })), (error: unknown) => {
    assert.ok(error instanceof PlayheadError)
    assert.deepEqual(error.conflicts, [
      { stream: 'b', expected: -1, found: 0 },
      { stream: 'c', expected: 4, found: -1 },
    ])
    assert.match(error.message, /carts\/b: expected none, found 0; carts\/c: expected 4, found none/)
    return true
  })
  assert.equal(log.logEndOffset, 3)
  await log.append(
    group(['d=0'], {
      expected: [
        { stream: 'a', version: 1 },
        { stream: 'zz', version: -1 },
      ],
    }),
  )
})

onLog('a refusal waits until what it found is durable', async (log, _opened, fileSystem) => {
  await append(log, 'cart=0')
  let letSync = () => {}
  const held = new Promise<void>((resolve) => (letSync = resolve))
  fileSystem.faults = { sync: (path) => (path.endsWith('.log') ? held : undefined) }
  const written = append(log, 'cart=1')
  let answered = false
  const refused = log
    .append(group(['cart=x'], { expected: [{ stream: 'cart', version: 0 }] }))
    .catch((error: unknown) => {
      answered = true
      return error
    })
  const unrelated = log.append(group(['cart=x'], { expected: [{ stream: 'nobody', version: 7 }] }))
  await assert.rejects(unrelated, failsWith('wrongExpectedVersion')) // rests on nothing that is not durable
  assert.equal(answered, false)
  assert.deepEqual([log.durableOffset, log.logEndOffset], [1, 2])
  assert.deepEqual(await recordsOf(log), ['cart=0'])
  letSync()
  await written
  assert.ok(isPlayheadError(await refused, 'wrongExpectedVersion'))
})

onLog(
  'a retry is answered with the first result, also while that is not durable yet',
  async (log, _opened, fileSystem) => {
    const batchOptions = { producerId: 77, producerEpoch: 0, baseSequence: 0 }
    let letSync = () => {}
    const held = new Promise<void>((resolve) => (letSync = resolve))
    await append(log, 'a=x')
    fileSystem.faults = { sync: (path) => (path.endsWith('.log') ? held : undefined) }
    const send = () => log.append(group(['a=1', 'b=1'], { batchOptions, wantVersions: true }))
    const first = send()
    let answered = false
    const retry = send().finally(() => (answered = true))
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(answered, false)
    letSync()
    assert.deepEqual(await retry, { ...(await first), duplicate: true })
    assert.deepEqual((await retry).versions, [1, 0])
    assert.equal(log.logEndOffset, 3)
    assert.deepEqual(log.producerState(77), { producerEpoch: 0, lastSequence: 1, lastOffset: 2 })
  },
)

onLog('a retry is told from a conflict: the sequence is looked at before the conditions', async (log) => {
  const send = () =>
    log.append(
      group(['cart=1'], {
        batchOptions: { producerId: 5, producerEpoch: 0, baseSequence: 0 },
        expected: [{ stream: 'cart', version: -1 }],
      }),
    )
  assert.equal((await send()).duplicate, false)
  assert.equal((await send()).duplicate, true)
})

onLog('a refusal uses up its sequences; lower epochs and old sequences are refused', async (log) => {
  const producer = (baseSequence: number, producerEpoch = 1) => ({ producerId: 5, producerEpoch, baseSequence })
  await log.append(group(['a=1'], { batchOptions: producer(0) }))
  const refused = log.append(
    group(['a=2', 'a=3'], { batchOptions: producer(1), expected: [{ stream: 'a', version: 9 }] }),
  )
  await assert.rejects(refused, failsWith('wrongExpectedVersion'))
  assert.equal(log.producerState(5)?.lastSequence, 2)
  await log.append(group(['a=4'], { batchOptions: producer(3) }))
  await assert.rejects(log.append(group(['a=5'], { batchOptions: producer(4, 0) })), failsWith('invalidProducerEpoch'))
  await assert.rejects(
    log.append(group(['a=5', 'a=6'], { batchOptions: producer(0) })),
    failsWith('outOfOrderSequence'),
  )
  assert.deepEqual(await recordsOf(log), ['a=1', 'a=4'])
})

for (const compression of ['gzip', 'zstd'] as const) {
  onLog(`a compressed batch (${compression}) has streams, versions and conditions like any other`, async (log) => {
    const batchOptions = { compression }
    const first = await log.append(group(['a=1', 'b=1', 'a=2'], { batchOptions, wantVersions: true }))
    assert.deepEqual(first.versions, [0, 0, 1])
    const late = log.append(group(['a=3'], { batchOptions, expected: [{ stream: 'a', version: 0 }] }))
    const next = log.append(group(['a=4'], { expected: [{ stream: 'a', version: 1 }], wantVersions: true }))
    await assert.rejects(late, failsWith('wrongExpectedVersion'))
    assert.deepEqual((await next).versions, [2])
    assert.deepEqual(await eventsOf(log, 'a'), ['0=1', '1=2', '2=4'])
  })
}

onLog(
  'what comes behind a waiting append waits too: order of arrival (compressed first, plain second)',
  async (log) => {
    const compressed = log.append(group(['a=1'], { batchOptions: { compression: 'gzip' }, wantVersions: true }))
    const plain = log.append(group(['a=2'], { wantVersions: true }))
    assert.deepEqual([(await compressed).versions, (await plain).versions], [[0], [1]])
  },
)

onLog('acks none answers at once, acks leader and all when it is durable', async (log, _opened, fileSystem) => {
  await append(log, 'a=0')
  let letSync = () => {}
  const held = new Promise<void>((resolve) => (letSync = resolve))
  fileSystem.faults = { sync: (path) => (path.endsWith('.log') ? held : undefined) }
  assert.equal((await log.append(group(['a=1'], { acks: 'none' }))).baseOffset, 1)
  const leader = log.append(group(['a=2'], { acks: 'leader' }))
  assert.equal(log.durableOffset, 1)
  letSync()
  await leader
  assert.equal(log.durableOffset, 3)
})

onLog('bad input is refused by name and leaves nothing behind', async (log) => {
  await append(log, 'a=1')
  const broken = group(['a=2'])
  broken.batch[broken.batch.length - 1]! ^= 1
  await assert.rejects(log.append(broken), failsWith('invalidBatch'))
  const big = encodeRecordBatch([{ key: 'a', value: Buffer.alloc(2 * 1024 * 1024), timestamp: 1 }])
  await assert.rejects(log.append({ ...group(['a=2']), batch: big }), failsWith('batchTooLarge'))
  for (const key of ['', 'x'.repeat(1025), Buffer.from([0xff, 0xfe])]) {
    const batch = encodeRecordBatch([{ key, value: '', timestamp: 1 }])
    await assert.rejects(log.append({ ...group(['a=2']), batch }), failsWith('invalidStream'))
  }
  for (const version of [-2, 0.5, Number.NaN]) {
    await assert.rejects(
      log.append(group(['a=2'], { expected: [{ stream: 'a', version }] })),
      failsWith('invalidExpectedVersion'),
    )
  }
  await assert.rejects(log.append({ ...group(['a=2']), batch: Buffer.alloc(10) }), failsWith('invalidBatch'))
  assert.equal(log.logEndOffset, 1)
  assert.equal((await append(log, 'a=2')).baseOffset, 1)
})

test('append: a stream of another partition is refused, in a batch and in a condition (4 partitions)', async () => {
  await using directory = await TemporaryDirectory.make()
  await using opened = await StoreUnderTest.open(directory.path)
  await opened.store.createTopic({
    name: 'four',
    partitions: 4,
    replicationFactor: 1,
    settings: { 'partition.by': 'prefix:/' },
  })
  const logs = [0, 1, 2, 3].map((partition) => opened.store.log('four', partition))
  const results = await Promise.allSettled(logs.map((log) => append(log, 'tenant/a=1')))
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
  const home = results.findIndex(({ status }) => status === 'fulfilled')
  await append(logs[home]!, 'tenant/b=1', 'tenant=1')
  const elsewhere = logs[(home + 1) % 4]!
  await assert.rejects(append(elsewhere, 'tenant/zzz=1'), failsWith('wrongPartition'))
  await assert.rejects(
    elsewhere.append(group(['=x'], { expected: [{ stream: 'tenant/a', version: -1 }] })),
    failsWith('wrongPartition'),
  )
  await append(elsewhere, '=no stream, any partition')
})

test('append: more waiting appends than the limit are refused as overloaded (limit 3)', async () => {
  await using directory = await TemporaryDirectory.make()
  const fileSystem = new FaultyFileSystem()
  await using opened = await StoreUnderTest.open(directory.path, { fileSystem, settings: { waitingAppendsMax: 3 } })
  const log = await opened.createLog()
  let letAllocate = () => {}
  const held = new Promise<void>((resolve) => (letAllocate = resolve))
  fileSystem.faults = { allocate: () => held }
  const waiting = [append(log, 'a=0'), append(log, 'a=1'), append(log, 'a=2')]
  await assert.rejects(append(log, 'a=3'), failsWith('overloaded'))
  letAllocate()
  assert.deepEqual(
    (await Promise.all(waiting)).map(({ baseOffset }) => baseOffset),
    [0, 1, 2],
  )
  await append(log, 'a=3')
})

test('append: after a failed sync nothing is acknowledged and the owner is told once', async () => {
  await using directory = await TemporaryDirectory.make()
  const fileSystem = new FaultyFileSystem()
  const opened = await StoreUnderTest.open(directory.path, { fileSystem })
  const log = await opened.createLog()
  await append(log, 'a=0')
  fileSystem.faults = {
    sync: (path) => {
      if (path.endsWith('.log')) throw Object.assign(new Error('EIO'), { code: 'EIO' })
    },
  }
  const results = await Promise.allSettled([append(log, 'a=1'), append(log, 'a=2')])
  assert.deepEqual(
    results.map(({ status }) => status),
    ['rejected', 'rejected'],
  )
  await until(() => opened.failures.length > 0)
  fileSystem.faults = {}
  await assert.rejects(append(log, 'a=3'), failsWith('storageFailed'))
  assert.equal(opened.failures.length, 1)
  assert.equal(log.durableOffset, 1)
  assert.deepEqual(await recordsOf(log), ['a=0'])
  await assert.rejects(opened[Symbol.asyncDispose](), failsWith('storageFailed'))
})

test('append: of groups sent together each hears its own outcome, also when the sync fails (a refusal rests on nothing)', async () => {
  await using directory = await TemporaryDirectory.make()
  const fileSystem = new FaultyFileSystem()
  const opened = await StoreUnderTest.open(directory.path, { fileSystem })
  const log = await opened.createLog()
  await append(log, 'a=0')
  const damaged = group(['a=1'])
  damaged.batch[30] = damaged.batch[30]! ^ 1
  const codes = async (): Promise<unknown[]> => {
    const outcomes = await log.appendEach([
      group(['a=1']),
      { ...damaged, batch: Buffer.from(damaged.batch) },
      group(['a=2'], { expected: [{ stream: 'a', version: 7 }] }),
    ])
    return outcomes.map((outcome) => (isPlayheadError(outcome) ? outcome.code : outcome.baseOffset))
  }
  assert.deepEqual(await codes(), [1, 'invalidBatch', 'wrongExpectedVersion'])
  fileSystem.faults = {
    sync: () => {
      throw new Error('EIO')
    },
  }
  // What the last one names was never durable, so it must not be told either.
  assert.deepEqual(await codes(), ['storageFailed', 'invalidBatch', 'storageFailed'])
  fileSystem.faults = {}
  await assert.rejects(opened[Symbol.asyncDispose](), { code: 'storageFailed' })
})
