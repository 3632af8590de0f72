import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import type { StreamEvent } from '../../client/index.ts'
import { lmdbViewStore, memoryViewStore, view } from '../../processing/index.ts'
import type { View, ViewOptions, ViewStore } from '../../processing/index.ts'
import { revenue, saleOf } from './sale.ts'
import { Shop } from './shop.ts'

/** Changes the state it is handed, as a fold may. */
const countInPlace = (state: { count: number }): { count: number } => {
  state.count++
  return state
}

const stores: Record<string, (directory: string) => ViewStore> = {
  memory: () => memoryViewStore(),
  lmdb: (directory) => lmdbViewStore(join(directory, 'views')),
}

for (const [name, open] of Object.entries(stores)) {
  test(`view (${name}): is the fold of every event once, and of new ones only when it catches up again`, async () => {
    await using shop = await Shop.open(3)
    await using store = open(shop.directory)
    let applied = 0
    const options: ViewOptions<number> = {
      ...revenue,
      topic: shop.topic,
      store,
      apply: (pence, event) => {
        applied++
        return revenue.apply(pence, event)
      },
    }
    const byCountry = view(options)
    assert.equal(byCountry.get('EIRE'), undefined)
    assert.equal(byCountry.live(), undefined)
    assert.deepEqual([...byCountry.entries()], [])

    await shop.sell(500)
    const progress = await byCountry.catchUp()
    assert.deepEqual(new Map(byCountry.entries()), shop.sums)
    assert.equal(byCountry.get('Netherlands'), shop.sums.get('Netherlands'))
    assert.equal(byCountry.get('Atlantis'), undefined)
    assert.equal(progress.events, 500)
    assert.deepEqual(progress.offsets, progress.highWatermarks)
    assert.deepEqual(byCountry.live(), { version: 1, events: 500, offsets: progress.offsets })

    await shop.sell(37)
    assert.equal((await view(options).catchUp()).events, 537)
    assert.deepEqual(new Map(byCountry.entries()), shop.sums)
    assert.equal(applied, 537)
    await byCountry.catchUp()
    assert.equal(applied, 537)
  })

  test(`view (${name}): a new version is derived beside the old one, which answers until it is replaced in one step`, async () => {
    await using shop = await Shop.open(2)
    await using store = open(shop.directory)
    await shop.sell(300)
    const first = view({ ...revenue, topic: shop.topic, store })
    await first.catchUp()
    const asker = view({ ...revenue, topic: shop.topic, store })
    const answers = new Set<unknown>()
    const second: View<{ count: number }> = view({
      ...revenue,
      version: 2,
      topic: shop.topic,
      store,
      commitEvents: 1,
      initial: { count: 0 },
      apply: ({ count }: { count: number }) => {
        answers.add(asker.get('EIRE')).add(second.get('EIRE'))
        assert.equal(second.live()?.version, 1)
        return { count: count + 1 }
      },
    })
    await second.catchUp()
    assert.deepEqual([...answers], [shop.sums.get('EIRE')])
    assert.deepEqual(second.get('EIRE'), { count: 60 })
    assert.deepEqual(asker.get('EIRE'), { count: 60 })
    assert.equal(asker.live()?.version, 2)
    await assert.rejects(first.catchUp(), {
      code: 'viewSuperseded',
      message: /found version 2 live.*version 1.*version 3/,
    })
  })
}

test('view (lmdb): goes on where it stood after the store was closed and opened again', async () => {
  await using shop = await Shop.open(3)
  const directory = join(shop.directory, 'views')
  await shop.sell(200)
  {
    await using store = lmdbViewStore(directory)
    await view({ ...revenue, topic: shop.topic, store }).catchUp()
  }
  await shop.sell(50)
  await using store = lmdbViewStore(directory)
  const again = view({ ...revenue, topic: shop.topic, store })
  assert.equal(again.live()?.events, 200)
  assert.equal((await again.catchUp()).events, 250)
  assert.deepEqual(new Map(again.entries()), shop.sums)
})

test('view: without a key there is one state; with types other events are passed over; an undefined key leaves an event out', async () => {
  await using shop = await Shop.open(2)
  await shop.sell(40)
  await shop.sell(7, 'Returned')
  const { topic } = shop
  const counting = { topic, version: 1, initial: () => ({ count: 0 }) }
  const store = memoryViewStore()
  const all = view({ ...counting, name: 'all', apply: countInPlace, store })
  const returned = view({ ...counting, name: 'returned', types: ['Returned'], apply: countInPlace, store })
  const some = view({
    ...counting,
    name: 'some',
    apply: countInPlace,
    store,
    key: ({ stream }) => (stream === 'customer-3' ? 'three' : undefined),
  })
  for (const one of [all, returned, some]) await one.catchUp()
  assert.deepEqual(all.get(), { count: 47 })
  assert.deepEqual(returned.get(), { count: 7 })
  assert.deepEqual([...some.entries()], [['three', { count: 5 }]])
  assert.deepEqual(returned.live()?.offsets, all.live()?.offsets, 'events passed over are not read again')
})

test('view: an event its function cannot take is named by stream, version and offset; nothing is kept of what followed the last commit', async () => {
  await using shop = await Shop.open(1)
  await using store = memoryViewStore()
  const { topic } = shop
  await shop.sell(100)
  await view({ ...revenue, topic, store }).catchUp()
  const before = shop.sums.get('EIRE')
  await shop.sell(20)
  const poisoned = await topic.stream('customer-4').append({ type: 'Sold', data: null })
  await shop.sell(20)
  const failing = view({ ...revenue, topic, store, commitEvents: 10_000, commitMs: 60_000 })
  await assert.rejects(failing.catchUp(), (error: Error & { code: string; details: object; cause: unknown }) => {
    assert.equal(error.code, 'viewFailed')
    assert.match(
      error.message,
      /^view revenue version 1: sales\/customer-4 version 12 \(partition 0, offset 120\): found TypeError/,
    )
    assert.deepEqual(error.details, { view: 'revenue', partition: 0, offset: 120, stream: 'customer-4', version: 12 })
    assert.ok(error.cause instanceof TypeError)
    return true
  })
  assert.equal(poisoned.version, 12)
  assert.equal(failing.get('EIRE'), before)
  assert.equal(failing.live()?.events, 100)
  const corrected = view({
    ...revenue,
    topic,
    store,
    key: (event: StreamEvent) => (event.data === null ? undefined : saleOf(event).country),
  })
  await corrected.catchUp()
  assert.deepEqual(new Map(corrected.entries()), shop.sums)
})

test('view: a state that is undefined, a promise or not storable, and a key that is no text or too long, are told', async () => {
  await using shop = await Shop.open(1)
  await shop.sell(1)
  const bad: [RegExp, object][] = [
    [/is a return missing/, { apply: () => undefined }],
    [/must not wait/, { apply: async () => 1 }],
    [/that cannot be kept/, { apply: () => Symbol('no') }],
    [/key answered number/, { key: () => 17 }],
    [/key answered 1026 bytes, wanted at most 1024/, { key: () => 'é'.repeat(513) }],
  ]
  for (const [message, part] of bad) {
    const options = { ...revenue, topic: shop.topic, store: memoryViewStore(), ...part } as ViewOptions<number>
    await assert.rejects(view(options).catchUp(), { code: 'viewFailed', message })
  }
})

test('view: what cannot be a definition is refused by name', () => {
  const topic = {} as ViewOptions<number>['topic']
  const bad: [RegExp, object][] = [
    [/view name: found "", wanted 1 to 249 bytes/, { name: '' }],
    [/view name/, { name: 'x'.repeat(250) }],
    [/version: found 0/, { version: 0 }],
    [/version: found 1.5/, { version: 1.5 }],
    [/version: found 1, wanted an integer/, { version: '1' }],
    [/apply: found undefined/, { apply: undefined }],
    [/initial: found undefined/, { initial: undefined }],
    [/commitEvents: found 0/, { commitEvents: 0 }],
    [/commitMs: found NaN/, { commitMs: Number.NaN }],
  ]
  for (const [message, part] of bad) {
    const options = { ...revenue, topic, store: memoryViewStore(), ...part } as ViewOptions<number>
    assert.throws(() => view(options), { code: 'invalidArgument', message })
  }
})

test('view: a topic that was deleted and created again under its name is refused by name, and takes a new version', async () => {
  await using shop = await Shop.open(1)
  await using store = memoryViewStore()
  await shop.sell(10)
  await view({ ...revenue, topic: shop.topic, store }).catchUp()
  await shop.playhead.admin.deleteTopic('sales')
  await shop.playhead.admin.createTopic('sales')
  const again = view({ ...revenue, topic: shop.topic, store })
  await assert.rejects(again.catchUp(), {
    code: 'viewTopicMismatch',
    message: /found topic sales \(id .*\), wanted sales \(id .*version 2/,
  })
  const next = view({ ...revenue, version: 2, topic: shop.topic, store })
  await next.catchUp()
  assert.equal(next.live()?.events, 0)
  assert.equal(next.get('EIRE'), undefined)
})
