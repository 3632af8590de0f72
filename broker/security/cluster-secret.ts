/**
 * ClusterSecret: how brokers of one cluster know each other: all have the same file. Whoever connects as a broker proves that he has it, and has that proven to
 * him, with the messages of SCRAM-SHA-256: the secret itself never travels. A file may have several, one a line: the first is what this broker proves, all are
 * taken, so that another one can take over while the cluster runs.
 * Invariant: each exchange has a nonce of its own and takes one proof, right or wrong.
 * Made by Security; the broker that connects is client/connection.ts.
 */
import { pbkdf2Sync } from 'node:crypto'
import type { FileSystem } from '../../platform/file-system.ts'
import type { Random } from '../../platform/random.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import {
  clientKeyOf,
  iterationsMin,
  parseClientFinal,
  parseClientFirst,
  SALT_BYTES,
  serverKeyOf,
  storedKeyOf,
} from '../../protocol/scram.ts'
import type { Verifier } from '../../protocol/scram.ts'
import type { Principal } from './principal.ts'
import { answerToProof, challengeTo } from './scram-challenge.ts'
import type { ScramChallenge } from './scram-challenge.ts'
import { readSecretFile } from './secret-file.ts'

/** Fewer could be guessed. */
const charactersMin = 32
const secretsMax = 8
const keyBytes = 32

/** Who has proven to be a broker of this cluster: it has no rights but to what brokers ask of each other. */
export const brokerPrincipal: Principal = {
  name: 'broker',
  groups: [],
  isSuper: false,
  isBroker: true,
  expiresAtMs: Infinity,
}

type Keys = Pick<Verifier, 'storedKey' | 'serverKey'>

export class ClusterSecret {
  /** What this broker proves. */
  readonly own: string
  readonly #random: Random
  readonly #salt: Buffer
  readonly #keys: readonly Keys[]

  private constructor(secrets: readonly [string, ...string[]], random: Random) {
    this.own = secrets[0]
    this.#random = random
    this.#salt = random.bytes(SALT_BYTES)
    this.#keys = secrets.map((secret) => keysOf(secret, this.#salt))
  }

  /** Undefined when `path` is empty. Throws invalidConfiguration. */
  static async open(path: string, fileSystem: FileSystem, random: Random): Promise<ClusterSecret | undefined> {
    if (path === '') return undefined
    const lines = (await readText(fileSystem, path)).split('\n').map((line) => line.trim())
    const [first, ...others] = lines.filter((line) => line !== '')
    const wanted = `wanted 1 to ${secretsMax} lines of ${charactersMin} or more characters without spaces; make one with: openssl rand -base64 33`
    if (first === undefined || others.length >= secretsMax) throw unfit(path, `${lines.length} lines`, wanted)
    for (const [index, secret] of [first, ...others].entries()) {
      if (secret.length < charactersMin || !/^[\x21-\x7e]+$/.test(secret))
        throw unfit(path, `${secret.length} characters in secret ${index + 1}`, wanted)
    }
    return new ClusterSecret([first, ...others], random)
  }

  /** The first message of a broker that connects. Throws unauthenticated for a malformed one. */
  begin(message: string): ScramChallenge {
    return challengeTo(parseClientFirst(message), this.#random, { salt: this.#salt, iterations: iterationsMin })
  }

  /** The last reply; undefined when the proof is of another secret. Throws unauthenticated for a malformed message. */
  finish(challenge: ScramChallenge, message: string): string | undefined {
    const last = parseClientFinal(message)
    if (last.nonce !== challenge.nonce) return undefined
    for (const keys of this.#keys) {
      const reply = answerToProof(challenge, last, keys)
      if (reply !== undefined) return reply
    }
    return undefined
  }
}

/** The secret cannot be guessed, so the fewest rounds that the other side takes are enough. */
function keysOf(secret: string, salt: Buffer): Keys {
  const salted = pbkdf2Sync(secret, salt, iterationsMin, keyBytes, 'sha256')
  return { storedKey: storedKeyOf(clientKeyOf(salted)), serverKey: serverKeyOf(salted) }
}

async function readText(fileSystem: FileSystem, path: string): Promise<string> {
  try {
    return await readSecretFile(fileSystem, path)
  } catch (error) {
    throw unfit(
      path,
      error instanceof Error ? error.message : String(error),
      'wanted a file that can be read; every broker of the cluster has the same',
    )
  }
}

function unfit(path: string, found: string, wanted: string): PlayheadError {
  const message = `setting clusterSecretFile: ${path}: found ${found}, ${wanted}`
  return new PlayheadError('invalidConfiguration', message, { setting: 'clusterSecretFile', file: path })
}
