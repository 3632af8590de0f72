/**
 * Access: users, tokens, grants and quotas of a broker whose security is on. As with Admin, an attempt whose answer was lost is not repeated. A password
 * becomes a verifier here: it never travels and the broker never sees it.
 */
import type { ReplyOf } from '../protocol/api.ts'
import type { Quota } from '../protocol/access.ts'
import { checkUserName } from '../protocol/names.ts'
import { checkPattern, operationOf } from '../protocol/rights.ts'
import type { Grant } from '../protocol/rights.ts'
import type { Cluster } from './cluster.ts'
import { verifierOf } from './credentials.ts'
import type { WaitOptions } from './topic-state.ts'

export interface NewToken {
  /** Whose rights it has, e.g. `user:billing`; default: one's own. */
  readonly principal?: string
  readonly description?: string
  /** What of those rights it has at most; default: all. */
  readonly scope?: readonly Grant[]
  /** Default: it does not expire. */
  readonly lifetimeMs?: number
}

export type CreatedToken = ReplyOf<'createToken'>
export type AccessList = ReplyOf<'listAccess'>
export type WhoAmI = ReplyOf<'whoAmI'>

/** Reached as `playhead.access`. */
export class Access {
  readonly #cluster: Cluster

  /** @internal */
  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  /** Whom the broker takes this client for. @throws PlayheadError `unavailable` */
  async whoAmI(options: WaitOptions = {}): Promise<WhoAmI> {
    const { header } = await this.#cluster.call('whoAmI', {}, { policy: 'reads', ...options })
    return header
  }

  /** @throws PlayheadError `invalidUserName`, `userExists`, `notAuthorized`, `unavailable` */
  async createUser(user: string, password: string, options: WaitOptions = {}): Promise<void> {
    await this.#putUser(user, password, false, options)
  }

  /** Connections that came with the password before are closed. @throws PlayheadError `invalidUserName`, `notAuthorized`, `unavailable` */
  async setPassword(user: string, password: string, options: WaitOptions = {}): Promise<void> {
    await this.#putUser(user, password, true, options)
  }

  /** With its grants and tokens; its connections are closed. @throws PlayheadError `unknownUser`, `notAuthorized`, `unavailable` */
  async deleteUser(user: string, options: WaitOptions = {}): Promise<void> {
    await this.#cluster.call('deleteUser', { user }, { policy: 'changes', ...options })
  }

  /** The token is in this answer and nowhere else. @throws PlayheadError `invalidGrant`, `unknownUser`, `notAuthorized`, `unavailable` */
  async createToken(token: NewToken = {}, options: WaitOptions = {}): Promise<CreatedToken> {
    const { principal = '', description = '', scope = [], lifetimeMs = 0 } = token
    checkGrants(scope)
    const request = { principal, description, scope: [...scope], lifetimeMs }
    const { header } = await this.#cluster.call('createToken', request, { policy: 'changes', ...options })
    return header
  }

  /** @throws PlayheadError `unknownToken`, `notAuthorized`, `unavailable` */
  async revokeToken(tokenId: string, options: WaitOptions = {}): Promise<void> {
    await this.#cluster.call('revokeToken', { tokenId }, { policy: 'changes', ...options })
  }

  /** @throws PlayheadError `invalidGrant`, `invalidUserName`, `notAuthorized`, `unavailable` */
  async grant(principal: string, grants: readonly Grant[], options: WaitOptions = {}): Promise<void> {
    checkGrants(grants)
    const request = { principal, add: [...grants], remove: [] }
    await this.#cluster.call('changeGrants', request, { policy: 'changes', ...options })
  }

  /** In force for open connections at once. @throws PlayheadError `invalidGrant`, `notAuthorized`, `unavailable` */
  async revoke(principal: string, grants: readonly Grant[], options: WaitOptions = {}): Promise<void> {
    checkGrants(grants)
    const request = { principal, add: [], remove: [...grants] }
    await this.#cluster.call('changeGrants', request, { policy: 'changes', ...options })
  }

  /** null = the default of the broker's settings again. @throws PlayheadError `invalidUserName`, `notAuthorized`, `unavailable` */
  async setQuota(principal: string, quota: Quota | null, options: WaitOptions = {}): Promise<void> {
    await this.#cluster.call('setQuota', { principal, quota: quota ?? undefined }, { policy: 'changes', ...options })
  }

  /** @throws PlayheadError `notAuthorized`, `unavailable` */
  async list(options: WaitOptions = {}): Promise<AccessList> {
    const { header } = await this.#cluster.call('listAccess', {}, { policy: 'reads', ...options })
    return header
  }

  async #putUser(user: string, password: string, replace: boolean, options: WaitOptions): Promise<void> {
    checkUserName(user)
    const verifier = await verifierOf(password)
    await this.#cluster.call('putUser', { user, replace, ...verifier }, { policy: 'changes', ...options })
  }
}

function checkGrants(grants: readonly Grant[]): void {
  for (const { operation, pattern } of grants) {
    operationOf(operation)
    checkPattern(pattern)
  }
}
