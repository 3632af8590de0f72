/**
 * ScramExchange: the broker's side of SCRAM-SHA-256 on one connection. Cheap on purpose: two HMACs and a hash, while the slow part, PBKDF2, is the
 * client's; so no number of attempts keeps the event loop or the disk's threads busy.
 * Invariants: each exchange has a nonce of its own and takes one proof, right or wrong, so that what was overheard is worth nothing later;
 * a user that does not exist is answered like one that does.
 * Neighbours: protocol/scram.ts has the messages, Authentication makes one per attempt.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Random } from '../../platform/random.ts'
import {
  authMessage,
  clientFinalWithoutProof,
  clientKeyOfProof,
  iterationsDefault,
  nonceOf,
  parseClientFinal,
  parseClientFirst,
  SALT_BYTES,
  scramNonceBytes,
  serverFinal,
  serverFirst,
  signatureOf,
  storedKeyOf,
} from '../../protocol/scram.ts'
import type { AccessFacts, UserFacts } from './access-facts.ts'

export class ScramExchange {
  /** As the client has said; proven only once `finish` has answered. */
  readonly claimedUser: string
  /** What to answer the first message with. */
  readonly reply: string
  readonly #bare: string
  readonly #nonce: string
  readonly #user: UserFacts | undefined

  /** Throws unauthenticated for a malformed message. */
  constructor(message: string, facts: AccessFacts, random: Random) {
    const { user, nonce, bare } = parseClientFirst(message)
    this.claimedUser = user
    this.#bare = bare
    this.#nonce = nonce + nonceOf(random.bytes(scramNonceBytes))
    this.#user = facts.users.get(user)
    const { salt, iterations } = this.#user?.verifier ?? {
      salt: saltOfNobody(facts, user),
      iterations: iterationsDefault,
    }
    this.reply = serverFirst({ nonce: this.#nonce, salt, iterations })
  }

  /** The user and the last reply; undefined when the proof is of another password, or nobody's. Throws unauthenticated for a malformed message. */
  finish(message: string, facts: AccessFacts): { readonly user: UserFacts; readonly reply: string } | undefined {
    const { nonce, proof } = parseClientFinal(message)
    const user = this.#user
    // As of now: a password that was changed in between is not the one that is asked for any more.
    if (nonce !== this.#nonce || user === undefined || facts.users.get(user.user)?.generation !== user.generation)
      return undefined
    const { storedKey, serverKey } = user.verifier
    const signed = authMessage(this.#bare, this.reply, clientFinalWithoutProof(nonce))
    const clientKey = clientKeyOfProof(storedKey, signed, proof)
    if (!timingSafeEqual(storedKeyOf(clientKey), storedKey)) return undefined
    return { user, reply: serverFinal(signatureOf(serverKey, signed)) }
  }
}

/** The same for one name at all times, as a real one would be. */
function saltOfNobody({ secret }: AccessFacts, user: string): Buffer {
  return createHmac('sha256', secret ?? '')
    .update(user)
    .digest()
    .subarray(0, SALT_BYTES)
}
