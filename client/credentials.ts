/**
 * Credentials: how this client says who it is. A password becomes a proof here (SCRAM-SHA-256, protocol/scram.ts) and never leaves; what is slow about
 * that is done once for all connections. A token is sent as it is, so give one to brokers with TLS only.
 * Neighbours: BrokerConnection uses it after hello; Access makes the verifiers of new users with it.
 */
import { pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto'
import { PlayheadError } from '../protocol/errors.ts'
import { checkUserName } from '../protocol/names.ts'
import {
  authMessage,
  clientFinal,
  clientFinalWithoutProof,
  clientFirst,
  clientKeyOf,
  iterationsDefault,
  nonceOf,
  parseServerFinal,
  parseServerFirst,
  proofOf,
  scramMechanism,
  SALT_BYTES,
  scramNonceBytes,
  serverKeyOf,
  signatureOf,
  storedKeyOf,
} from '../protocol/scram.ts'

const keyBytes = 32
const clientHeaderLength = 'n,,'.length

/** Who the client is: a user with its password, or a token. */
export type ClientCredentials =
  | { readonly user: string; readonly password: string }
  | {
      /** One that `playhead token create` has shown, or one of the broker's identity provider; a function is asked for each new connection. */
      readonly token: string | (() => string | Promise<string>)
    }

/** One message to the broker, and its answer. */
export type Exchange = (message: string) => Promise<string>

export class Credentials {
  /** Of the exchange that `prove` goes through. */
  readonly mechanism: string
  readonly #given: ClientCredentials
  /** What PBKDF2 made of the password, by salt and iterations: a broker has one for each user. */
  readonly #salted = new Map<string, Promise<Buffer>>()

  /** Throws invalidUserName. */
  constructor(given: ClientCredentials, mechanism = scramMechanism) {
    if ('user' in given) checkUserName(given.user)
    this.#given = given
    this.mechanism = mechanism
  }

  /** For hello; undefined when it is not a token. */
  async token(): Promise<string | undefined> {
    if (!('token' in this.#given)) return undefined
    const { token } = this.#given
    return typeof token === 'string' ? token : token()
  }

  /** Proves the password, and has the broker prove that it knows the user. Throws unauthenticated. */
  async prove(exchange: Exchange): Promise<void> {
    if (!('user' in this.#given)) throw wrongKind()
    const { user, password } = this.#given
    const nonce = nonceOf(randomBytes(scramNonceBytes))
    const first = clientFirst(user, nonce)
    const answer = await exchange(first)
    const { nonce: fullNonce, salt, iterations } = parseServerFirst(answer, nonce)
    const salted = await this.#saltedPassword(password, salt, iterations)
    const signed = authMessage(first.slice(clientHeaderLength), answer, clientFinalWithoutProof(fullNonce))
    const last = await exchange(clientFinal(fullNonce, proofOf(clientKeyOf(salted), signed)))
    const wanted = signatureOf(serverKeyOf(salted), signed)
    const found = parseServerFinal(last)
    if (found.length === wanted.length && timingSafeEqual(found, wanted)) return
    throw new PlayheadError(
      'unauthenticated',
      'broker: found a signature that is not of this user, wanted one: it does not know the password, and is not the broker that it says it is',
    )
  }

  #saltedPassword(password: string, salt: Buffer, iterations: number): Promise<Buffer> {
    const key = `${salt.toString('base64')}/${iterations}`
    let salted = this.#salted.get(key)
    if (salted === undefined) {
      this.#salted.clear() // the password was changed, or another broker answers
      salted = saltPassword(password, salt, iterations)
      this.#salted.set(key, salted)
    }
    return salted
  }
}

/** What a broker is given of a new password. */
export async function verifierOf(
  password: string,
): Promise<{ salt: string; iterations: number; storedKey: string; serverKey: string }> {
  const salt = randomBytes(SALT_BYTES)
  const salted = await saltPassword(password, salt, iterationsDefault)
  return {
    salt: salt.toString('base64'),
    iterations: iterationsDefault,
    storedKey: storedKeyOf(clientKeyOf(salted)).toString('base64'),
    serverKey: serverKeyOf(salted).toString('base64'),
  }
}

/** The same characters may be typed in more than one way: they are one password. */
function saltPassword(password: string, salt: Buffer, iterations: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    pbkdf2(password.normalize('NFKC'), salt, iterations, keyBytes, 'sha256', (error, key) =>
      error ? reject(error) : resolve(key),
    )
  })
}

function wrongKind(): PlayheadError {
  return new PlayheadError(
    'unauthenticated',
    'broker: found no token that it takes, wanted one, or a user and a password; connect with credentials',
  )
}
