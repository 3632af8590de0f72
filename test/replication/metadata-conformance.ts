/**
 * What every metadata store must do, run against each of them: metadata-local.test.ts, metadata-simulated.test.ts, metadata-etcd.test.ts.
 * A store under test starts empty; `waitMs` passes time as that store knows it.
 */
import assert from 'node:assert/strict'
import type { MetadataStore, Transaction } from '../../replication/metadata-store.ts'

export interface StoreUnderTest extends AsyncDisposable {
  readonly store: MetadataStore
  /** A second client of the same store; none where there can be one only. */
  readonly other?: MetadataStore
  /** The shortest lease that it grants. */
  readonly ttlMs: number
  waitMs(ms: number): Promise<void>
}

const put = (key: string, value: string, leaseId?: string): Transaction => ({
  compares: [],
  changes: [{ kind: 'put', key, value, ...(leaseId !== undefined && { leaseId }) }],
})

async function done(store: MetadataStore, transaction: Transaction): Promise<number> {
  const result = await store.transact(transaction)
  assert.equal(result.outcome, 'done', JSON.stringify(result))
  return 'revision' in result ? result.revision : 0
}

async function refused(store: MetadataStore, transaction: Transaction): Promise<void> {
  const result = await store.transact(transaction)
  assert.equal(result.outcome, 'refused', JSON.stringify(result))
}

async function valueOf(store: MetadataStore, key: string): Promise<string | undefined> {
  return (await store.get(key)).entry?.value
}

async function until(under: StoreUnderTest, what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (await holds()) return
    await under.waitMs(50)
  }
  assert.fail(`not after ten seconds: ${what}`)
}

export const conformance: Readonly<Record<string, (under: StoreUnderTest) => Promise<void>>> = {
  'what is put is read, with the revisions of its making and its last change': async ({ store }) => {
    assert.equal((await store.get('/a')).entry, undefined)
    const first = await done(store, put('/a', 'ä 1'))
    const second = await done(store, put('/a', '{"b":"\\n"}'))
    assert.ok(second > first)
    const { entry, revision } = await store.get('/a')
    assert.deepEqual(entry, {
      key: '/a',
      value: '{"b":"\\n"}',
      createRevision: first,
      modRevision: second,
      leaseId: undefined,
    })
    assert.equal(revision, second)
    await done(store, { compares: [], changes: [{ kind: 'delete', key: '/a' }] })
    assert.equal((await store.get('/a')).entry, undefined)
    const third = await done(store, put('/a', ''))
    assert.deepEqual([(await store.get('/a')).entry?.createRevision, await valueOf(store, '/a')], [third, ''])
  },

  'a range has every key with the prefix and no other, in order, as of one revision': async ({ store }) => {
    const keys = ['/p/1', '/p/10', '/p/2', '/p', '/q/1', '/p/', '/p/\u00ff', '/p0']
    for (const key of keys) await done(store, put(key, key))
    const { entries, revision, storeId } = await store.range('/p/')
    assert.deepEqual(
      entries.map(({ key, value }) => [key, value]),
      ['/p/', '/p/1', '/p/10', '/p/2', '/p/\u00ff'].map((key) => [key, key]),
    )
    assert.equal(revision, Math.max(...(await store.range('')).entries.map(({ modRevision }) => modRevision)))
    assert.equal((await store.range('')).entries.length, keys.length)
    assert.equal((await store.get('/p/1')).storeId, storeId)
    assert.deepEqual((await store.range('/nothing')).entries, [])
  },

  'a range of more than two thousand keys is whole': async ({ store }) => {
    const keys = Array.from({ length: 2_300 }, (_, number) => `/n/${String(number).padStart(5, '0')}`)
    for (let from = 0; from < keys.length; from += 100) {
      const changes = keys.slice(from, from + 100).map((key) => ({ kind: 'put', key, value: 'x'.repeat(300) }) as const)
      await done(store, { compares: [], changes })
    }
    assert.deepEqual(
      (await store.range('/n/')).entries.map(({ key }) => key),
      keys,
    )
  },

  'a transaction happens if all compares hold, else not at all': async ({ store }) => {
    const made = await done(store, put('/a', '1'))
    const changes = [
      { kind: 'put', key: '/b', value: '2' },
      { kind: 'delete', key: '/a' },
    ] as const
    await refused(store, { compares: [{ key: '/a', modRevision: made + 1 }], changes })
    await refused(store, {
      compares: [
        { key: '/a', modRevision: made },
        { key: '/c', modRevision: made },
      ],
      changes,
    })
    await refused(store, { compares: [{ key: '/a', modRevision: 0 }], changes })
    await refused(store, { compares: [{ key: '/a', createRevision: 0 }], changes })
    await refused(store, { compares: [{ key: '/a', createRevisionIsNot: made }], changes })
    assert.deepEqual([await valueOf(store, '/a'), await valueOf(store, '/b')], ['1', undefined])
    const compares = [
      { key: '/a', modRevision: made },
      { key: '/a', createRevision: made },
      { key: '/c', modRevision: 0 },
      { key: '/c', createRevision: 0 },
      { key: '/c', createRevisionIsNot: made },
      { key: '/a', createRevisionIsNot: 0 },
    ]
    await done(store, { compares, changes })
    assert.deepEqual([await valueOf(store, '/a'), await valueOf(store, '/b')], [undefined, '2'])
  },

  'a key made again is another one for who compares by its making': async ({ store }) => {
    const first = await done(store, put('/s', '1'))
    const changed = await done(store, put('/s', '2'))
    await done(store, {
      compares: [
        { key: '/s', createRevision: first },
        { key: '/s', modRevision: changed },
      ],
      changes: [],
    })
    await done(store, { compares: [], changes: [{ kind: 'delete', key: '/s' }] })
    await done(store, put('/s', '2'))
    await refused(store, { compares: [{ key: '/s', createRevision: first }], changes: [] })
    await done(store, { compares: [{ key: '/s', createRevisionIsNot: first }], changes: [] })
  },

  'of two who saw the same, one is refused (20 rounds)': async ({ store, other = store }) => {
    let seen = 0
    for (let round = 0; round < 20; round++) {
      const attempt = (value: string) => ({ ...put('/p', value), compares: [{ key: '/p', modRevision: seen }] })
      const results = await Promise.all([store.transact(attempt('one')), other.transact(attempt('two'))])
      assert.deepEqual(results.map(({ outcome }) => outcome).toSorted(), ['done', 'refused'])
      const { entry } = await other.get('/p')
      assert.equal(entry?.value, results[0].outcome === 'done' ? 'one' : 'two')
      seen = entry?.modRevision ?? 0
    }
  },

  'the revision stands still when nothing changes and rises by one when something does': async ({ store }) => {
    const first = await done(store, put('/a', '1'))
    await refused(store, { compares: [{ key: '/a', modRevision: 0 }], changes: [{ kind: 'delete', key: '/a' }] })
    await done(store, { compares: [], changes: [{ kind: 'delete', key: '/none' }] })
    assert.equal((await store.get('/a')).revision, first)
    const changes = ['/a', '/b', '/c'].map((key) => ({ kind: 'put', key, value: 'x' }) as const)
    assert.equal(await done(store, { compares: [], changes }), first + 1)
  },

  '128 changes fit in a transaction; more, or two of one key, are refused by name': async ({ store }) => {
    const changes = (count: number) =>
      Array.from({ length: count }, (_, number) => ({ kind: 'put', key: `/k/${number}`, value: '' }) as const)
    const compares = changes(128).map(({ key }) => ({ key, modRevision: 0 }))
    await done(store, { compares, changes: changes(128) })
    await assert.rejects(store.transact({ compares: [], changes: changes(129) }), {
      code: 'invalidArgument',
      message: /129 operations, wanted at most 128/,
    })
    const twice = [...changes(1), ...changes(1)]
    await assert.rejects(store.transact({ compares: [], changes: twice }), {
      code: 'invalidArgument',
      message: /two changes of \/k\/0/,
    })
    assert.equal((await store.range('/k/')).entries.length, 128)
  },

  'a lease that is kept keeps its keys, one that is not loses them': async (under) => {
    const { store, ttlMs } = under
    const kept = await store.grantLease(ttlMs)
    const left = await store.grantLease(ttlMs)
    assert.ok(kept.ttlMs >= ttlMs)
    await done(store, put('/kept', '1', kept.leaseId))
    await done(store, put('/left', '1', left.leaseId))
    assert.equal((await store.get('/kept')).entry?.leaseId, kept.leaseId)
    const isOver = async () => {
      assert.equal(await store.keepLease(kept.leaseId), true)
      return (await valueOf(store, '/left')) === undefined
    }
    await until(under, 'the key of the other lease is gone', isOver)
    assert.equal(await valueOf(store, '/kept'), '1')
    assert.equal(await store.keepLease(left.leaseId), false)
    await refused(store, put('/late', '1', left.leaseId))
    assert.equal(await valueOf(store, '/late'), undefined)
  },

  'a lease given back takes its keys with it at once; a key put again without one stays': async ({ store, ttlMs }) => {
    const { leaseId } = await store.grantLease(ttlMs)
    await done(store, put('/a', '1', leaseId))
    await done(store, put('/b', '1', leaseId))
    await done(store, put('/b', '2'))
    await store.revokeLease(leaseId)
    assert.deepEqual([await valueOf(store, '/a'), await valueOf(store, '/b')], [undefined, '2'])
    await store.revokeLease(leaseId)
    assert.equal(await store.keepLease(leaseId), false)
  },

  'a watch begins with a hint for anything, then names what changes below its prefix': async (under) => {
    const { store, other = store, ttlMs } = under
    const hints: (string | undefined)[] = []
    const watch = store.watch('/w/', (key) => hints.push(key))
    await until(under, 'the first hint', () => hints.length > 0)
    assert.equal(hints[0], undefined)
    await done(other, put('/x', '1'))
    await done(other, put('/w/1', '1'))
    await done(other, { compares: [], changes: [{ kind: 'delete', key: '/w/1' }] })
    await until(under, 'the hints of a put and a delete', () => hints.filter((key) => key === '/w/1').length >= 2)
    const { leaseId } = await other.grantLease(ttlMs)
    await done(other, put('/w/lease', '1', leaseId))
    await other.revokeLease(leaseId)
    await until(under, 'the hints of a lease', () => hints.filter((key) => key === '/w/lease').length >= 2)
    assert.ok(!hints.includes('/x'))
    watch.close()
    const count = hints.length
    await done(other, put('/w/2', '1'))
    await under.waitMs(200)
    assert.equal(hints.length, count)
  },

  'a closed store says so': async ({ store }) => {
    await store.close()
    await assert.rejects(store.get('/a'), { code: 'closed' })
    await assert.rejects(store.transact(put('/a', '1')), { code: 'closed' })
  },
}
