/**
 * ScramChallenge: what the broker answers a client's first message with, and what it makes of the last one: the same whoever proves himself, a user or another
 * broker. Neighbours: ScramExchange and ClusterSecret know whose keys they are; protocol/scram.ts has the messages.
 */
import { timingSafeEqual } from 'node:crypto'
import type { Random } from '../../platform/random.ts'
import {
  authMessage,
  clientFinalWithoutProof,
  clientKeyOfProof,
  nonceOf,
  scramNonceBytes,
  serverFinal,
  serverFirst,
  signatureOf,
  storedKeyOf,
} from '../../protocol/scram.ts'
import type { ClientFirst, ClientLast, Verifier } from '../../protocol/scram.ts'

export interface ScramChallenge {
  readonly nonce: string
  readonly bare: string
  /** What the first message is answered with. */
  readonly reply: string
}

export function challengeTo(
  { nonce, bare }: ClientFirst,
  random: Random,
  { salt, iterations }: Pick<Verifier, 'salt' | 'iterations'>,
): ScramChallenge {
  const whole = nonce + nonceOf(random.bytes(scramNonceBytes))
  return { nonce: whole, bare, reply: serverFirst({ nonce: whole, salt, iterations }) }
}

/** The last reply; undefined when the proof is of other keys. The caller has seen that the nonce is that of the challenge. */
export function answerToProof(
  { nonce, bare, reply }: ScramChallenge,
  { proof }: ClientLast,
  { storedKey, serverKey }: Pick<Verifier, 'storedKey' | 'serverKey'>,
): string | undefined {
  const signed = authMessage(bare, reply, clientFinalWithoutProof(nonce))
  const clientKey = clientKeyOfProof(storedKey, signed, proof)
  return timingSafeEqual(storedKeyOf(clientKey), storedKey) ? serverFinal(signatureOf(serverKey, signed)) : undefined
}
