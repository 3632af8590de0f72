/**
 * SCRAM-SHA-256 (RFC 5802, RFC 7677): the messages and the sums that both sides make of them. Neither side ever sees more than a proof of
 * what the other knows: the broker keeps a salted verifier, which does not let anybody log in, and the password never leaves the client.
 *
 *   client-first   n,,n=USER,r=NONCE
 *   server-first   r=NONCE+MORE,s=SALT,i=ITERATIONS
 *   client-final   c=biws,r=NONCE+MORE,p=PROOF           proof = ClientKey XOR HMAC(StoredKey, all messages so far)
 *   server-final   v=SIGNATURE                           signature = HMAC(ServerKey, all messages so far)
 *
 * No channel binding; user names are plain (names.ts), so nothing in them needs escaping.
 * Neighbours: client/credentials.ts and broker/security/scram-exchange.ts are the two sides.
 */
import { createHash, createHmac } from 'node:crypto'
import { PlayheadError } from './errors.ts'

export const scramMechanism = 'SCRAM-SHA-256'
/** The same messages between brokers, whose password is the secret of their cluster. */
export const clusterMechanism = 'CLUSTER-SCRAM-SHA-256'
/** Fewer would make a stolen verifier cheap to guess from; more would let a broker keep its clients busy. */
export const iterationsMin = 4_096
export const iterationsMax = 2_000_000
/** Of verifiers that this release makes: about 20 ms of the client's time, none of the broker's. */
export const iterationsDefault = 65_536
export const SALT_BYTES = 16
const NONCE_BYTES = 18
const KEY_BYTES = 32
const clientHeader = 'n,,'
/** The client's header in base64, as the last message repeats it. */
const channelBinding = 'biws'

/** What a broker keeps of a password. */
export interface Verifier {
  readonly salt: Buffer
  readonly iterations: number
  readonly storedKey: Buffer
  readonly serverKey: Buffer
}

export interface ClientFirst {
  readonly user: string
  readonly nonce: string
  /** The message without its header: part of what is signed. */
  readonly bare: string
}

export interface ClientLast {
  readonly nonce: string
  readonly proof: Buffer
}

export interface ServerFirst {
  readonly nonce: string
  readonly salt: Buffer
  readonly iterations: number
}

export function nonceOf(random: Buffer): string {
  return random.subarray(0, NONCE_BYTES).toString('base64')
}

/** Random bytes that `nonceOf` takes. */
export const scramNonceBytes = NONCE_BYTES

export function clientFirst(user: string, nonce: string): string {
  return `${clientHeader}n=${user},r=${nonce}`
}

/** Throws unauthenticated for what is no such message, as all parsers here do. */
export function parseClientFirst(message: string): ClientFirst {
  const [, bare, user, nonce] = /^n,,(n=([^,=]{1,128}),r=([\x21-\x2b\x2d-\x7e]{16,128}))$/.exec(message) ?? []
  if (bare === undefined || user === undefined || nonce === undefined) throw malformed('first message')
  return { user, nonce, bare }
}

export function serverFirst({ nonce, salt, iterations }: ServerFirst): string {
  return `r=${nonce},s=${salt.toString('base64')},i=${iterations}`
}

export function parseServerFirst(message: string, clientNonce: string): ServerFirst {
  const [, nonce, salt, digits] = /^r=([^,]{1,256}),s=([A-Za-z0-9+/=]{1,128}),i=(\d{1,9})$/.exec(message) ?? []
  const iterations = Number(digits)
  if (nonce === undefined || salt === undefined || !nonce.startsWith(clientNonce) || nonce === clientNonce)
    throw malformed('answer')
  if (!(iterations >= iterationsMin && iterations <= iterationsMax)) throw malformed(`answer: ${iterations} iterations`)
  return { nonce, salt: Buffer.from(salt, 'base64'), iterations }
}

export function clientFinalWithoutProof(nonce: string): string {
  return `c=${channelBinding},r=${nonce}`
}

export function clientFinal(nonce: string, proof: Buffer): string {
  return `${clientFinalWithoutProof(nonce)},p=${proof.toString('base64')}`
}

export function parseClientFinal(message: string): ClientLast {
  const [, nonce, proof] = /^c=biws,r=([^,]{1,256}),p=([A-Za-z0-9+/=]{1,88})$/.exec(message) ?? []
  const bytes = Buffer.from(proof ?? '', 'base64')
  if (nonce === undefined || bytes.length !== KEY_BYTES) throw malformed('last message')
  return { nonce, proof: bytes }
}

export function serverFinal(signature: Buffer): string {
  return `v=${signature.toString('base64')}`
}

export function parseServerFinal(message: string): Buffer {
  const [, signature] = /^v=([A-Za-z0-9+/=]{1,88})$/.exec(message) ?? []
  if (signature === undefined) throw malformed('last answer')
  return Buffer.from(signature, 'base64')
}

/** What proof and signature are made of. */
export function authMessage(bare: string, first: string, finalWithoutProof: string): string {
  return `${bare},${first},${finalWithoutProof}`
}

/** `saltedPassword`: PBKDF2 of the password, which only the client computes. */
export function clientKeyOf(saltedPassword: Buffer): Buffer {
  return hmac(saltedPassword, 'Client Key')
}

export function serverKeyOf(saltedPassword: Buffer): Buffer {
  return hmac(saltedPassword, 'Server Key')
}

export function storedKeyOf(clientKey: Buffer): Buffer {
  return createHash('sha256').update(clientKey).digest()
}

export function proofOf(clientKey: Buffer, message: string): Buffer {
  return xor(clientKey, hmac(storedKeyOf(clientKey), message))
}

/** The client's key that a proof speaks of, if it is one; who knows the stored key tells by its hash. */
export function clientKeyOfProof(storedKey: Buffer, message: string, proof: Buffer): Buffer {
  return xor(proof, hmac(storedKey, message))
}

export function signatureOf(serverKey: Buffer, message: string): Buffer {
  return hmac(serverKey, message)
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

function xor(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.map((byte, index) => byte ^ b[index]!))
}

function malformed(what: string): PlayheadError {
  return new PlayheadError('unauthenticated', `${scramMechanism}: found a malformed ${what}, wanted it as in RFC 5802`)
}
