/** The audit topic: what it holds, that the chain holds over restarts, that changing one event breaks it, and that floods are bounded. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Broker } from '../../../broker/broker.ts'
import { connect } from '../../../client/index.ts'
import type { Playhead, StreamEvent } from '../../../client/index.ts'
import { chainFault, chainStart } from '../../../protocol/audit-chain.ts'
import type { AuditData } from '../../../protocol/audit-chain.ts'
import { runSecured } from './secured-broker.ts'

async function auditOf(playhead: Playhead): Promise<StreamEvent[]> {
  const events: StreamEvent[] = []
  for await (const event of playhead.topic('__audit').stream('audit').read()) events.push(event)
  return events
}

function firstFault(events: readonly StreamEvent[]): string | undefined {
  let previous = chainStart
  for (const [number, { data, type }] of events.entries()) {
    const fault = chainFault(data, type, number, previous)
    if (fault !== undefined) return `${number}: ${fault}`
    previous = (data as AuditData).hash
  }
  return undefined
}

test('audit: who did what, who was refused what, chained over a restart; one changed event is found', async () => {
  await using secured = await runSecured()
  const alice = await secured.user('alice', [{ operation: 'create', pattern: 'topic:*' }])
  await alice.admin.createTopic('carts')
  await assert.rejects(alice.admin.deleteTopic('carts'), { code: 'notAuthorized' })
  await assert.rejects(secured.connect({ user: 'alice', password: 'wrong' }), { code: 'unauthenticated' })
  await secured.admin.close()
  await secured.broker.stop()
  const settings = { data: secured.directory, port: 0, httpPort: 0, security: 'on' } as const
  await using broker = await Broker.start(settings)
  await using admin = await connect(`localhost:${broker.port}`, { credentials: { token: secured.adminToken } })
  await admin.admin.deleteTopic('carts')
  let events = await auditOf(admin)
  while (events.at(-1)?.type !== 'deleteTopic') events = await auditOf(admin)
  const told = events.map(({ type, data }) => {
    const { outcome, principal, resource } = data as AuditData
    return `${type} ${outcome} ${principal} ${resource}`.trim()
  })
  assert.deepEqual(told, [
    'createUser done admin user:alice',
    'grant done admin user:alice create topic:*',
    'createTopic done user:alice carts',
    'admin refused user:alice topic:carts',
    'authenticate refused user:alice',
    'deleteTopic done admin carts',
  ])
  assert.equal(firstFault(events), undefined)
  for (const [index, event] of events.entries()) {
    const data = event.data as AuditData
    const changed = (change: Partial<AuditData>) => events.with(index, { ...event, data: { ...data, ...change } })
    assert.match(firstFault(changed({ principal: 'user:mallory' })) ?? '', new RegExp(`^${index}: hash`))
    assert.match(firstFault(changed({ outcome: 'done', count: 2 })) ?? '', new RegExp(`^${index}:`))
    if (index < events.length - 1) assert.ok(firstFault(events.toSpliced(index, 1)))
  }
})

test('audit: a flood of refusals is few events that say how many', async () => {
  await using secured = await runSecured()
  const alice = await secured.user('alice')
  for (let count = 0; count < 300; count++)
    await assert.rejects(alice.admin.createTopic('carts'), { code: 'notAuthorized' })
  await secured.admin.close()
  await secured.broker.stop() // ends the round
  await using broker = await Broker.start({ data: secured.directory, port: 0, httpPort: 0, security: 'on' })
  await using admin = await connect(`localhost:${broker.port}`, { credentials: { token: secured.adminToken } })
  const refusals = (await auditOf(admin)).filter(({ type }) => type === 'create').map(({ data }) => data as AuditData)
  assert.equal(
    refusals.reduce((sum, { count }) => sum + count, 0),
    300,
  )
  assert.ok(refusals.length <= 3, `${refusals.length} events`)
})
