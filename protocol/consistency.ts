/**
 * Consistency: what a read of "now" may miss. `committed`: it sees what its leader knows to be committed, and what its own session saw; a leader that
 * others have replaced, and does not know it, may lack what they took since. `linearizable`: it sees all that was acknowledged before it began.
 * A broker of a release before this ignores the field; so the reply says what was done, and the client looks.
 */
import { bool, later, oneOf } from './header-schema.ts'
import type { ValueOf } from './header-schema.ts'

const consistency = oneOf('committed', 'linearizable')
export type Consistency = ValueOf<typeof consistency>

/** Of requests; absent = `committed`. */
export const wantedConsistency = later(consistency)
/** Of replies: true when that was asked for, and kept. */
export const keptConsistency = later(bool)
