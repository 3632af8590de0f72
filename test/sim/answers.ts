/** What a client was told, as the history has it. Neighbour: session.ts. */
import { isPlayheadError } from '../../client/index.ts'
import { isIndefinite } from '../../client/retry.ts'
import type { AppendOutcome } from '../history/history.ts'

/** What a client of a cluster may be told beside what one broker says. */
export const clusterCodes: ReadonlySet<string> = new Set(['notLeader', 'notEnoughReplicas', 'fencedEpoch'])

export function outcomeOf(error: unknown): AppendOutcome {
  if (isPlayheadError(error, 'wrongExpectedVersion')) return { kind: 'refused', conflicts: error.conflicts }
  const surelyNot = isPlayheadError(error) && !isIndefinite(error)
  return surelyNot ? { kind: 'refused', conflicts: [] } : { kind: 'unknown' }
}

/** Records of a producer have no content type: they come as bytes. */
export function fromBytes(base64: string | undefined): unknown {
  return JSON.parse(Buffer.from(base64 ?? '', 'base64').toString('utf8') || 'null') as unknown
}

/** What a client may be told while disks fill up, brokers die and connections break. */
export const expectedCodes = new Set([
  'unavailable',
  'timedOut',
  'overloaded',
  'stopping',
  'storageFailed',
  'diskFull',
  'closed',
  'wrongExpectedVersion',
  'outOfOrderSequence',
  'playheadMoved',
])
