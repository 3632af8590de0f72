/**
 * Session: who one connection, or one HTTP request, is taken for, and the question that is asked with each thing it wants: may it? While security is off
 * everything is allowed but the access topic, which is answered to nobody.
 * Invariants: before somebody has said who he is nothing is allowed; each answer is as of now, so that a right that is taken is gone with
 * the next question.
 * Neighbours: Security makes them; handlers, routes and request-rights.ts ask.
 */
import { PlayheadError } from '../../protocol/errors.ts'
import { describeResource, topicResource } from '../../protocol/rights.ts'
import type { Grant, Operation, Resource } from '../../protocol/rights.ts'
import { limitedStreamsTopic } from '../limited-streams.ts'
import type { AccessFacts } from './access-facts.ts'
import { accessTopic } from './access-store.ts'
import { auditTopic } from './audit.ts'
import type { AuditNote } from './audit.ts'
import { principalText } from './principal.ts'
import type { Principal, SignInReason } from './principal.ts'
import type { ScramChallenge } from './scram-challenge.ts'
import type { Meter, Quotas } from './quotas.ts'
import type { ScramExchange } from './scram-exchange.ts'

/** What a session asks: Security. */
export interface Guard {
  readonly isOn: boolean
  readonly facts: AccessFacts
  readonly quotas: Quotas
  /** Brokers have to prove that they are of this cluster. */
  readonly brokersProve: boolean
  /** Throws unavailable while it is not known who may what. */
  checkReady(): void
  holds(principal: Principal): boolean
  note(note: AuditNote): void
}

export class Session {
  /** The exchange that is under way, if there is one. */
  scram: ScramExchange | undefined
  /** The same of somebody who says that he is a broker. */
  clusterProof: ScramChallenge | undefined
  /** Without the port. */
  readonly address: string
  readonly #security: Guard
  readonly #kind: 'connection' | 'request'
  #principal: Principal | undefined
  #meter: Meter | undefined

  constructor(security: Guard, address: string, kind: 'connection' | 'request') {
    this.#kind = kind
    this.#security = security
    this.address = address
  }

  get principal(): Principal | undefined {
    return this.#principal
  }

  /** For people: logs, audit. */
  get name(): string {
    return this.#principal === undefined ? 'anonymous' : principalText(this.#principal)
  }

  /** It may ask for things. */
  get isReady(): boolean {
    return !this.#security.isOn || this.#principal !== undefined
  }

  /** Counts the changes of what anybody may do. */
  get revision(): number {
    return this.#security.facts.revision
  }

  /** Its principal still is one; true while there is none yet. */
  get holds(): boolean {
    return this.#principal === undefined || this.#security.holds(this.#principal)
  }

  get grants(): Grant[] {
    return this.#principal === undefined ? [] : this.#security.facts.grantsOf(this.#principal)
  }

  /** What its principal has used; undefined = nobody counts. */
  get meter(): Meter | undefined {
    return this.#meter
  }

  /** Throws overloaded when the principal has as many connections as it may. */
  become(principal: Principal): void {
    const meter = this.#security.quotas.hold(principal.name)
    const { connections } = meter.quota
    const isNew = this.#kind === 'connection' && principal.name !== this.#principal?.name
    if (isNew && connections > 0 && meter.connections >= connections) {
      this.#security.quotas.letGo(principal.name, meter)
      const message = `${principal.name}: found ${connections} connections, wanted fewer: its quota; close one, or ask for more`
      throw new PlayheadError('overloaded', message, { limit: connections })
    }
    this.end()
    this.#principal = principal
    this.#meter = meter
    if (this.#kind === 'connection') meter.connections++
  }

  /** The connection is gone, or somebody else's now. */
  end(): void {
    if (this.#meter !== undefined && this.#principal !== undefined) {
      if (this.#kind === 'connection') this.#meter.connections--
      this.#security.quotas.letGo(this.#principal.name, this.#meter)
    }
    this.#meter = undefined
    this.#principal = undefined
  }

  /** Another broker of this cluster is there. */
  get isBroker(): boolean {
    return this.#principal?.isBroker === true
  }

  may(operation: Operation, resource: Resource): boolean {
    if (this.isBroker && isBetweenBrokers(operation, resource)) return true
    if (isSecret(resource)) return false
    if (!this.#security.isOn) return true
    const principal = this.#principal
    return principal !== undefined && this.holds && this.#security.facts.allows(principal, operation, resource)
  }

  /** On at least something in the topic. */
  maySome(operation: Operation, topic: string): boolean {
    if (this.isBroker && isBetweenBrokers(operation, topicResource(topic))) return true
    if (topic === accessTopic) return false
    if (!this.#security.isOn) return true
    const principal = this.#principal
    return principal !== undefined && this.holds && this.#security.facts.allowsSome(principal, operation, topic)
  }

  /** Whether it may know that the topic exists. */
  sees(topic: string): boolean {
    if (!this.#security.isOn) return true
    const principal = this.#principal
    return principal !== undefined && this.holds && this.#security.facts.touches(principal, topic)
  }

  /** Throws unauthenticated unless somebody has said who he is and still is. */
  requirePrincipal(): void {
    if (!this.#security.isOn) return
    this.#security.checkReady()
    if (this.#principal === undefined) throw this.#anonymous()
    if (!this.holds) throw gone(this.#principal)
  }

  /** Throws unauthenticated or notAuthorized; the refusal is audited. */
  require(operation: Operation, resource: Resource): void {
    if (this.may(operation, resource)) return
    this.requirePrincipal()
    throw this.#denied(operation, describeResource(resource))
  }

  /** For what brokers ask of each other, and nobody else. Throws unauthenticated or notAuthorized; the refusal is audited. */
  requireBroker(): void {
    if (!this.#security.brokersProve || this.isBroker) return
    this.requirePrincipal()
    const { name, address } = this
    this.#security.note({ action: 'replicate', outcome: 'refused', principal: name, address, resource: 'cluster' })
    const message = `replication: found ${name}, wanted a broker of this cluster, which proves that it is one; give every broker the same file: clusterSecretFile`
    throw new PlayheadError('notAuthorized', message, { principal: name })
  }

  requireSome(operation: Operation, topic: string): void {
    if (this.maySome(operation, topic)) return
    this.requirePrincipal()
    throw this.#denied(operation, describeResource(topicResource(topic)))
  }

  requireSight(topic: string): void {
    if (this.sees(topic)) return
    this.requirePrincipal()
    throw this.#denied('read', describeResource(topicResource(topic)))
  }

  /** For the audit topic: what was done. */
  did(action: string, resource: string): void {
    this.#security.note({ action, outcome: 'done', principal: this.name, address: this.address, resource })
  }

  #denied(operation: Operation, resource: string): PlayheadError {
    const { name, address } = this
    this.#security.note({ action: operation, outcome: 'refused', principal: name, address, resource })
    return new PlayheadError(
      'notAuthorized',
      `${resource}: found no right of ${name} to ${operation}, wanted one; ask for: playhead grant add ${this.#principal?.name ?? 'PRINCIPAL'} ${operation} ${resource}`,
      { operation, resource, principal: this.#principal?.name ?? name },
    )
  }

  #anonymous(): PlayheadError {
    return new PlayheadError(
      'unauthenticated',
      'connection: found nobody who has said who he is, wanted a user, a token or a certificate; see docs/operations/security.md',
      { reason: 'missing' satisfies SignInReason },
    )
  }
}

/** Users and grants are read from the broker that leads them, and audit events brought to it; limits of streams are both. */
const readByBrokers: ReadonlySet<string> = new Set([accessTopic, auditTopic, limitedStreamsTopic])
const writtenByBrokers: ReadonlySet<string> = new Set([auditTopic, limitedStreamsTopic])

function isBetweenBrokers(operation: Operation, resource: Resource): boolean {
  if (resource.kind === 'cluster') return false
  if (operation === 'read') return readByBrokers.has(resource.topic)
  return operation === 'append' && writtenByBrokers.has(resource.topic)
}

function isSecret(resource: Resource): boolean {
  return resource.kind !== 'cluster' && resource.topic === accessTopic
}

function gone({ name, tokenId }: Principal): PlayheadError {
  const what = tokenId === undefined ? name : `token ${tokenId} of ${name}`
  return new PlayheadError(
    'unauthenticated',
    `${what}: found it expired, changed or revoked, wanted a valid one; authenticate again`,
  )
}
