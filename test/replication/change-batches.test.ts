import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sendChanges } from '../../replication/change-batches.ts'
import type { PlannedChange } from '../../replication/controller-plan.ts'
import { newPartitionState, next } from '../../replication/isr-change.ts'
import { metadataKeys } from '../../replication/metadata-keys.ts'
import { writeRecord } from '../../replication/metadata-records.ts'
import type { MetadataStore, Transaction, TransactionResult } from '../../replication/metadata-store.ts'
import { MetadataTable } from '../../replication/metadata-table.ts'

/** A table with so many partitions, and a change planned for each. */
function plan(count: number): { table: MetadataTable; changes: PlannedChange[] } {
  const table = new MetadataTable(0)
  const changes = Array.from({ length: count }, (_, partition): PlannedChange => {
    const key = metadataKeys.partition('t', partition)
    const state = newPartitionState({ replicas: [1, 2], isrMin: 1, nonce: 'made' })
    table.apply({ compares: [], changes: [{ kind: 'put', key, value: writeRecord(state) }] })
    const changed = next(state, { kind: 'brokersGone', gone: [1], electable: [2] }, 'changed')
    const compares = [{ key: metadataKeys.session(1), createRevision: 0 }]
    return { topicId: 't', partition, seen: { state, modRevision: table.revision }, changed, compares }
  })
  return { table, changes }
}

function storeOn(
  table: MetadataTable,
  onTransaction: (transaction: Transaction) => 'answer' | 'silence' = () => 'answer',
) {
  const sent: Transaction[] = []
  const transact = async (transaction: Transaction): Promise<TransactionResult> => {
    sent.push(transaction)
    const answers = onTransaction(transaction) === 'answer'
    const outcome = table.apply(transaction) === undefined ? 'refused' : 'done'
    return answers ? { outcome, storeId: 's', revision: table.revision } : { outcome: 'unknown', reason: 'lost' }
  }
  return { store: { transact } as Pick<MetadataStore, 'transact'> as MetadataStore, sent }
}

const count = 300
const sender = [{ key: metadataKeys.controller, modRevision: 0 }]

test('300 partitions go in three transactions, each within the limit and each naming its sender', async () => {
  const { table, changes } = plan(count)
  const { store, sent } = storeOn(table)
  const { done, isUnknown } = await sendChanges(store, changes, sender)
  assert.deepEqual([done.length, isUnknown, sent.length], [count, false, 3])
  for (const { compares } of sent)
    assert.ok(compares.length <= 128 && compares.some(({ key }) => key === metadataKeys.controller))
  assert.ok(table.range('/p/').every(({ value }) => value.includes('"changed"')))
})

test('one restless partition holds up nobody but itself', async () => {
  const { table, changes } = plan(count)
  const { key, value } = table.range('/p/')[77]!
  const isRestless = ({ changes: all }: Transaction) => all.some((change) => change.key === key)
  const { store } = storeOn(table, (transaction) => {
    if (isRestless(transaction)) table.apply({ compares: [], changes: [{ kind: 'put', key, value }] })
    return 'answer'
  })
  const { done } = await sendChanges(store, changes, sender)
  assert.equal(done.length, count - 1)
})

test('a sender that is one no longer changes nothing; after a lost answer nothing more is sent', async () => {
  const { table, changes } = plan(count)
  const { store, sent } = storeOn(table, () => (sent.length === 2 ? 'silence' : 'answer'))
  const { done, isUnknown } = await sendChanges(store, changes, sender)
  assert.deepEqual([isUnknown, sent.length, done.length < count], [true, 2, true])
  table.apply({ compares: [], changes: [{ kind: 'put', key: metadataKeys.controller, value: '' }] })
  const other = plan(10)
  other.table.apply({ compares: [], changes: [{ kind: 'put', key: metadataKeys.controller, value: '' }] })
  assert.equal((await sendChanges(storeOn(other.table).store, other.changes, sender)).done.length, 0)
})
