/**
 * The chain of the audit topic: event n holds the hash of event n-1 and its own, SHA-256 over the JSON array
 * [n, type, atMs, outcome, principal, address, resource, reason, count, lost, previous]. Whoever changes, takes out or puts in an event breaks
 * the chain from there on; whoever cuts off its end does not, so a careful operator writes the last hash down elsewhere.
 * Neighbours: broker/security/audit.ts makes it, cli/audit.ts follows it.
 */
import { createHash } from 'node:crypto'

/** What the first event of all has as `previous`. */
export const chainStart = '0'.repeat(64)

export interface AuditFacts {
  readonly atMs: number
  readonly outcome: 'done' | 'refused'
  readonly principal: string
  readonly address: string
  readonly resource: string
  readonly reason: string
  /** How often it happened. */
  readonly count: number
  /** Events that could not be kept before this one. */
  readonly lost: number
}

export interface AuditData extends AuditFacts {
  readonly number: number
  readonly previous: string
  readonly hash: string
}

export function linkedData(number: number, type: string, facts: AuditFacts, previous: string): AuditData {
  return { number, ...facts, previous, hash: hashOf(number, type, facts, previous) }
}

/** What is wrong with the event that comes after one with hash `previous`, in words; undefined when the chain goes on. `number` as in the event before, plus one. */
export function chainFault(data: unknown, type: string | null, number: number, previous: string): string | undefined {
  if (typeof data !== 'object' || data === null) return 'no audit event'
  const event = data as Partial<AuditData>
  if (event.number !== number) return `number ${String(event.number)} where ${number} comes next`
  if (event.previous !== previous) return `previous hash ${String(event.previous)}, wanted ${previous}`
  const wanted = hashOf(number, type ?? '', event as AuditFacts, previous)
  return event.hash === wanted ? undefined : `hash ${String(event.hash)}, wanted ${wanted}`
}

function hashOf(number: number, type: string, facts: AuditFacts, previous: string): string {
  const { atMs, outcome, principal, address, resource, reason, count, lost } = facts
  const text = JSON.stringify([
    number,
    type,
    atMs,
    outcome,
    principal,
    address,
    resource,
    reason,
    count,
    lost,
    previous,
  ])
  return createHash('sha256').update(text).digest('hex')
}
