/** Views while events go on coming: following, aborting, and several that derive at once. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { lmdbViewStore, memoryViewStore, view } from '../../processing/index.ts'
import type { View, ViewStore } from '../../processing/index.ts'
import { revenue } from './sale.ts'
import { Shop } from './shop.ts'

/** Calls back after each commit until `wanted` holds. */
function reached<State>(derived: View<State>, wanted: () => boolean): { onProgress: () => void; done: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>()
  const onProgress = (): void => {
    if (derived.live() !== undefined && wanted()) resolve()
  }
  return { onProgress, done: promise }
}

const seen = (derived: View<number>, shop: Shop): boolean => derived.live()?.events === shop.sold

test('view follow: events are in the answers soon after they were appended, until the signal aborts', async () => {
  await using shop = await Shop.open(3)
  const byCountry = view({ ...revenue, topic: shop.topic, store: memoryViewStore(), commitMs: 5 })
  const stop = new AbortController()
  await shop.sell(100)
  let waiting = reached(byCountry, () => seen(byCountry, shop))
  const following = byCountry.follow({ signal: stop.signal, onProgress: () => waiting.onProgress() })
  await waiting.done
  for (let round = 0; round < 5; round++) {
    waiting = reached(byCountry, () => seen(byCountry, shop))
    await shop.sell(11)
    await waiting.done
    assert.deepEqual(new Map(byCountry.entries()), shop.sums)
  }
  await assert.rejects(byCountry.catchUp(), { code: 'viewInUse' })
  stop.abort()
  await following
  await shop.sell(3)
  await byCountry.catchUp()
  assert.deepEqual(new Map(byCountry.entries()), shop.sums)
})

test('view follow: an event its function cannot take ends it with the error, although the reader waits for more', async () => {
  await using shop = await Shop.open(2)
  const byCountry = view({ ...revenue, topic: shop.topic, store: memoryViewStore(), commitMs: 5 })
  await shop.sell(10)
  const waiting = reached(byCountry, () => seen(byCountry, shop))
  const following = byCountry.follow({ onProgress: waiting.onProgress })
  await waiting.done
  const rejected = assert.rejects(following, { code: 'viewFailed' })
  await shop.topic.stream('customer-1').append({ type: 'Sold', data: null })
  await rejected
  assert.equal(byCountry.live()?.events, 10)
})

test('view catch-up: an aborted one keeps what it committed, rejects with the reason, and the next goes on', async () => {
  await using shop = await Shop.open(2)
  await using store = lmdbViewStore(join(shop.directory, 'views'))
  for (let round = 0; round < 20; round++) await shop.sell(50)
  const stop = new AbortController()
  const reason = new Error('enough')
  const byCountry = view({ ...revenue, topic: shop.topic, store, commitEvents: 1 })
  const stopped = byCountry.catchUp({ signal: stop.signal, onProgress: () => stop.abort(reason) })
  await assert.rejects(stopped, (error) => error === reason)
  assert.equal(byCountry.live(), undefined, 'it has not caught up, so nothing answers')
  const before = AbortSignal.abort(reason)
  await assert.rejects(byCountry.catchUp({ signal: before }), (error) => error === reason)
  const progress = await byCountry.catchUp()
  assert.equal(progress.events, 1_000)
  assert.deepEqual(new Map(byCountry.entries()), shop.sums)
})

test('view: of two derivations of one version at once, at most one goes on, and every event counts once', async () => {
  await using shop = await Shop.open(2)
  const directory = join(shop.directory, 'views')
  await using one = lmdbViewStore(directory)
  await using other = lmdbViewStore(directory)
  for (let round = 0; round < 20; round++) await shop.sell(50)
  const options = { ...revenue, topic: shop.topic, commitEvents: 1 }
  const results = await Promise.allSettled([one, other].map((store) => view({ ...options, store }).catchUp()))
  for (const result of results) {
    if (result.status === 'rejected') assert.equal(result.reason.code, 'viewInUse')
  }
  assert.ok(results.some(({ status }) => status === 'rejected'))
  const again = view({ ...options, store: one })
  assert.equal((await again.catchUp()).events, 1_000)
  assert.deepEqual(new Map(again.entries()), shop.sums)
})

test('view: version 2 takes over from a version 1 that follows without ever answering less than before', async () => {
  await using shop = await Shop.open(2)
  const store = memoryViewStore()
  const total = {
    ...revenue,
    topic: shop.topic,
    store,
    commitMs: 1,
    key: () => 'all',
    initial: 0,
    apply: (count: number) => count + 1,
  }
  await shop.sell(200)
  const old = view(total)
  const asker = view(total)
  const answers: number[] = []
  const onProgress = (): void => void answers.push(asker.get('all') ?? 0)
  const following = assert.rejects(old.follow({ onProgress }), { code: 'viewSuperseded' })
  const selling = (async () => {
    for (let round = 0; round < 40; round++) await shop.sell(10)
  })()
  await view({ ...total, version: 2 }).catchUp({ onProgress })
  await selling
  await shop.sell(10) // the old one finds out at its next commit
  await following
  await view({ ...total, version: 2 }).catchUp({ onProgress })
  assert.deepEqual(
    answers,
    answers.toSorted((a, b) => a - b),
  )
  assert.equal(asker.get('all'), shop.sold)
})

/** A store that lets `before` happen ahead of each transaction: for what only another process would do just then. */
function interrupted(store: ViewStore, before: () => Promise<void>): ViewStore {
  return {
    get: (key) => store.get(key),
    range: (from, end, limit) => store.range(from, end, limit),
    async transaction(change) {
      await before()
      return store.transaction(change)
    },
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  }
}

test('view: a version 2 that version 1 overtakes just before the swap catches up once more, and only then takes over', async () => {
  await using shop = await Shop.open(2)
  const store = memoryViewStore()
  const options = { ...revenue, topic: shop.topic }
  await shop.sell(50)
  const old = view({ ...options, store })
  await old.catchUp()
  let overtakes = 0
  const overtaking = interrupted(store, async () => {
    if (overtakes === 3) return
    overtakes++
    await shop.sell(10)
    await old.catchUp()
    assert.equal(old.live()?.version, 1)
  })
  const next = view({ ...options, version: 2, store: overtaking })
  assert.equal((await next.catchUp()).events, 80)
  assert.equal(next.live()?.version, 2)
  assert.deepEqual(new Map(next.entries()), shop.sums)
})
