/**
 * Security: who is who and who may what, for the native protocol and for HTTP alike. Put together here: the access topic and the facts in it, the ways to
 * say who one is, quotas, the audit topic. While it is off, nothing of that is opened and every session may do everything.
 * Invariant: what changes access is durable before it is answered, and in force for every open connection at once.
 * Made by Broker; asked by ClientConnection, HttpServer and handlers.
 */
import { sleep, within } from '../../platform/clock.ts'
import type { Clock, Timer } from '../../platform/clock.ts'
import type { FileSystem } from '../../platform/file-system.ts'
import type { Random } from '../../platform/random.ts'
import type { Quota } from '../../protocol/access.ts'
import type { ReplyOf } from '../../protocol/api.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import type { Partitions } from '../../replication/partitions.ts'
import { addressOf } from '../address-count.ts'
import type { BrokerConfig } from '../config.ts'
import { AccessFacts } from './access-facts.ts'
import { AccessStore } from './access-store.ts'
import { AdminToken } from './admin-token.ts'
import { Audit } from './audit.ts'
import type { AuditNote } from './audit.ts'
import { Authentication, certificatePrincipal } from './authentication.ts'
import { brokerPrincipal } from './cluster-secret.ts'
import type { ClusterSecret } from './cluster-secret.ts'
import type { IdentityTokens } from './identity-tokens.ts'
import type { OtherBrokers } from '../internal-log.ts'
import type { Principal } from './principal.ts'
import { Quotas } from './quotas.ts'
import { Session } from './session.ts'

/** How often open connections are looked at for principals that have expired: with this, what is revoked ends well within 5 s. */
const lookMs = 1_000
/** In a cluster, how long a start waits for users and grants, and between two attempts. */
const joinMsMax = 5_000
const joinRetryMs = 200

export interface SecurityOptions {
  readonly config: BrokerConfig
  readonly partitions: Partitions
  readonly fileSystem: FileSystem
  readonly clock: Clock
  readonly random: Random
  readonly report: (level: 'info' | 'warn', message: string) => void
  readonly onFatal: (error: Error) => void
  /** By which brokers of a cluster know each other. */
  readonly clusterSecret?: ClusterSecret | undefined
  /** This broker is one of a cluster: `join` is called once it has a part in that. */
  readonly isClustered?: boolean
}

/** Of other brokers: a follower that is slowed down is a replica that is lost. */
const noQuota: Quota = { requestsPerSecond: 0, inBytesPerSecond: 0, outBytesPerSecond: 0, connections: 0 }

interface Parts {
  readonly store: AccessStore
  readonly audit: Audit
  readonly authentication: Authentication
}

export class Security {
  readonly quotas: Quotas
  readonly stats = { authenticated: 0, refused: 0, denied: 0 }
  readonly #options: SecurityOptions
  readonly #noFacts = new AccessFacts()
  readonly #looks = new Set<() => void>()
  readonly #gone = new AbortController()
  #adminTokenHash: Buffer = Buffer.alloc(0)
  #parts: Parts | undefined
  #timer: Timer | undefined

  private constructor(options: SecurityOptions) {
    this.#options = options
    this.quotas = new Quotas(options.clock, (principal) => this.#quotaOf(principal))
  }

  /** Throws invalidConfiguration, and what reading the access topic throws. */
  static async open(options: SecurityOptions): Promise<Security> {
    const security = new Security(options)
    if (options.config.security === 'off') return security
    const admin = await AdminToken.open(options)
    options.report('info', `security is on; the token in ${admin.path} may do everything`)
    security.#adminTokenHash = admin.hash
    if (options.isClustered !== true) await security.#open(undefined)
    return security
  }

  /**
   * In a cluster, once this broker has a part in it: resolves when it knows what the others know, or after a while: then it goes on trying, and lets nobody in
   * until it does.
   */
  async join(others: OtherBrokers): Promise<void> {
    if (!this.isOn) return
    await within(this.#options.clock, joinMsMax, this.#join(others))
  }

  async #join(others: OtherBrokers): Promise<void> {
    const { clock, report, onFatal } = this.#options
    let said = ''
    while (!this.#gone.signal.aborted) {
      try {
        return await this.#open(others)
      } catch (error) {
        if (!(error instanceof PlayheadError) || error.code === 'invalidConfiguration')
          return onFatal(error instanceof Error ? error : new Error(String(error)))
        if (error.message !== said)
          report('warn', `security: nobody is let in yet: users and grants cannot be read: ${error.message}`)
        said = error.message
      }
      await sleep(clock, joinRetryMs, this.#gone.signal).catch(() => undefined)
    }
  }

  async #open(others: OtherBrokers | undefined): Promise<void> {
    const { config, partitions, clock, random, report, onFatal } = this.#options
    const onChange = () => this.#look()
    const identityTokens = await identityTokensOf(config)
    const store = await AccessStore.open({ partitions, clock, random, others, onChange, onFailure: onFatal, report })
    const audit = await Audit.open({ partitions, clock, random, others, report }).catch((error: unknown) => {
      store.close()
      throw error
    })
    if (this.#gone.signal.aborted) return store.close()
    const authentication = new Authentication({
      facts: () => store.facts,
      clock,
      random,
      adminTokenHash: this.#adminTokenHash,
      identityTokens,
      onRefused: (address, claimed) => {
        this.stats.refused++
        audit.note({ action: 'authenticate', outcome: 'refused', principal: claimed, address })
      },
    })
    this.#parts = { store, audit, authentication }
    this.#lookLater()
  }

  get isOn(): boolean {
    return this.#options.config.security === 'on'
  }

  /** Throws unavailable while this broker does not know yet who may what. */
  checkReady(): void {
    if (this.isOn && this.#parts === undefined) throw notReady()
  }

  get brokersProve(): boolean {
    return this.isOn || this.#options.clusterSecret !== undefined
  }

  /** Takes the next message of an exchange with another broker; answers the reply to it. Throws unauthenticated. */
  proveBroker(session: Session, message: string): ReplyOf<'authenticate'> {
    const { clusterSecret } = this.#options
    if (clusterSecret === undefined) throw this.#wrongSecret(session, 'no secret here')
    const begun = session.clusterProof
    if (begun === undefined) {
      session.clusterProof = clusterSecret.begin(message)
      return { message: session.clusterProof.reply, done: false, principal: '' }
    }
    session.clusterProof = undefined // one proof for one nonce
    const reply = clusterSecret.finish(begun, message)
    if (reply === undefined) throw this.#wrongSecret(session, 'the proof of another secret')
    session.become(brokerPrincipal)
    return { message: reply, done: true, principal: session.name }
  }

  #wrongSecret({ address }: Session, found: string): PlayheadError {
    this.stats.refused++
    this.#parts?.audit.note({ action: 'authenticate', outcome: 'refused', principal: brokerPrincipal.name, address })
    const message = `broker: found ${found}, wanted that of this cluster; give every broker of it the same file: clusterSecretFile`
    return new PlayheadError('unauthenticated', message)
  }

  get facts(): AccessFacts {
    return this.#parts?.store.facts ?? this.#noFacts
  }

  /** Throws securityOff: there is nobody to manage. */
  get store(): AccessStore {
    return this.#on().store
  }

  get authentication(): Authentication {
    return this.#on().authentication
  }

  get auditStats(): Audit['stats'] {
    return this.#parts?.audit.stats ?? { written: 0, lost: 0 }
  }

  /** Mechanisms that a connection may choose from; undefined = nothing is wanted from it. */
  get mechanisms(): string[] | undefined {
    return this.isOn ? ['SCRAM-SHA-256', 'BEARER'] : undefined
  }

  /** `certificateName`: of a client certificate that our authority has signed. To be ended. */
  session(kind: 'connection' | 'request', remoteAddress: string, certificateName?: string): Session {
    const session = new Session(this, addressOf(remoteAddress), kind)
    if (this.isOn && certificateName !== undefined) session.become(certificatePrincipal(certificateName))
    return session
  }

  holds(principal: Principal): boolean {
    return this.facts.holds(principal, this.#options.clock.now())
  }

  note(note: AuditNote): void {
    if (note.outcome === 'refused') this.stats.denied++
    this.#parts?.audit.note(note)
  }

  /** Calls back whenever somebody who was somebody may not be any more. Answers how to end that. */
  onLook(look: () => void): () => void {
    this.#looks.add(look)
    return () => this.#looks.delete(look)
  }

  async close(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#looks.clear()
    this.#gone.abort()
    this.#parts?.store.close()
    await this.#parts?.audit.close()
  }

  #on(): Parts {
    if (this.#parts !== undefined) return this.#parts
    this.checkReady()
    throw new PlayheadError(
      'securityOff',
      'broker: found security off, wanted it on; start it with --security on, see docs/operations/security.md',
    )
  }

  #look(): void {
    for (const look of this.#looks) look()
  }

  #lookLater(): void {
    this.#timer = this.#options.clock.after(lookMs, () => {
      this.#look()
      this.#lookLater()
    })
  }

  #quotaOf(principal: string): Quota {
    if (principal === brokerPrincipal.name) return noQuota
    const { quotaRequestsPerSecond, quotaInBytesPerSecond, quotaOutBytesPerSecond, quotaConnections } =
      this.#options.config
    return (
      this.facts.quotas.get(principal) ?? {
        requestsPerSecond: quotaRequestsPerSecond,
        inBytesPerSecond: quotaInBytesPerSecond,
        outBytesPerSecond: quotaOutBytesPerSecond,
        connections: quotaConnections,
      }
    )
  }
}

function notReady(): PlayheadError {
  return new PlayheadError(
    'unavailable',
    'broker: found it without word of users and grants yet, wanted it to have read them from the broker that leads them; ask another one, or again later',
    { outcome: 'notApplied' },
  )
}

async function identityTokensOf(config: BrokerConfig): Promise<IdentityTokens | undefined> {
  const { oidcIssuer: issuer, oidcAudience: audience, oidcKeysUrl: keysUrl } = config
  if (issuer === '') return undefined
  if (audience === '' || keysUrl === '')
    throw new PlayheadError(
      'invalidConfiguration',
      'settings oidcAudience and oidcKeysUrl: found one of them empty beside oidcIssuer, wanted both; see docs/configuration.md',
    )
  if (!/^https:\/\/|^http:\/\/(localhost|127\.0\.0\.1|\[::1\])[:/]/.test(keysUrl) || !URL.canParse(keysUrl))
    throw new PlayheadError(
      'invalidConfiguration',
      `setting oidcKeysUrl: found ${JSON.stringify(keysUrl)}, wanted an https address, or http on this machine: whoever changes the keys on their way is everybody`,
    )
  const { oidcPrincipalClaim: principalClaim, oidcGroupsClaim: groupsClaim } = config
  // With what it needs, which nobody else does, it takes a twentieth of a second to load.
  const { IdentityTokens } = await import('./identity-tokens.ts')
  return new IdentityTokens({ issuer, audience, keysUrl, principalClaim, groupsClaim })
}
