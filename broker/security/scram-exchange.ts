/**
 * ScramExchange: the broker's side of SCRAM-SHA-256 on one connection. Cheap on purpose: two HMACs and a hash, while the slow part, PBKDF2, is the
 * client's; so no number of attempts keeps the event loop or the disk's threads busy.
 * Invariants: each exchange has a nonce of its own and takes one proof, right or wrong, so that what was overheard is worth nothing later;
 * a user that does not exist is answered like one that does.
 * Neighbours: protocol/scram.ts has the messages, Authentication makes one per attempt.
 */
import { createHmac } from 'node:crypto'
import type { Random } from '../../platform/random.ts'
import { iterationsDefault, parseClientFinal, parseClientFirst, SALT_BYTES } from '../../protocol/scram.ts'
import type { AccessFacts, UserFacts } from './access-facts.ts'
import { answerToProof, challengeTo } from './scram-challenge.ts'
import type { ScramChallenge } from './scram-challenge.ts'

export class ScramExchange {
  /** As the client has said; proven only once `finish` has answered. */
  readonly claimedUser: string
  readonly #challenge: ScramChallenge
  readonly #user: UserFacts | undefined

  /** Throws unauthenticated for a malformed message. */
  constructor(message: string, facts: AccessFacts, random: Random) {
    const first = parseClientFirst(message)
    const { user } = first
    this.claimedUser = user
    this.#user = facts.users.get(user)
    const ofNobody = () => ({ salt: saltOfNobody(facts, user), iterations: iterationsDefault })
    this.#challenge = challengeTo(first, random, this.#user?.verifier ?? ofNobody())
  }

  /** What to answer the first message with. */
  get reply(): string {
    return this.#challenge.reply
  }

  /** The user and the last reply; undefined when the proof is of another password, or nobody's. Throws unauthenticated for a malformed message. */
  finish(message: string, facts: AccessFacts): { readonly user: UserFacts; readonly reply: string } | undefined {
    const last = parseClientFinal(message)
    const user = this.#user
    if (last.nonce !== this.#challenge.nonce || user === undefined) return undefined
    // As of now: a password that was changed in between is not the one that is asked for any more.
    if (facts.users.get(user.user)?.generation !== user.generation) return undefined
    const reply = answerToProof(this.#challenge, last, user.verifier)
    return reply === undefined ? undefined : { user, reply }
  }
}

/** The same for one name at all times, as a real one would be. */
function saltOfNobody({ secret }: AccessFacts, user: string): Buffer {
  return createHmac('sha256', secret ?? '')
    .update(user)
    .digest()
    .subarray(0, SALT_BYTES)
}
