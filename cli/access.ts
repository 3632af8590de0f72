/** playhead user, token, grant, quota …: who may do what on a broker whose security is on. For people by default, JSON with --json. */
import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import type { Grant, Quota } from '../client/index.ts'
import { operationOf } from '../protocol/rights.ts'
import { integerOf } from './arguments.ts'
import { secretOf } from './connection-options.ts'
import { Interrupted, UsageError } from './failure-report.ts'
import type { Session } from './session.ts'
import { grouped, table } from './text-table.ts'

/** Shorter ones are guessed. */
const passwordCharactersMin = 8

export interface PasswordFlags {
  readonly newPasswordFile?: string
}

export async function createUser(session: Session, user: string, flags: PasswordFlags): Promise<void> {
  const password = await newPassword(flags)
  await session.connected((playhead) => playhead.access.createUser(user, password))
  if (session.isJson) return session.print({ user, principal: `user:${user}`, created: true })
  await session.printText(
    `created user ${user}; it may do nothing yet: playhead grant add user:${user} read topic:NAME`,
  )
}

export async function setPassword(session: Session, user: string, flags: PasswordFlags): Promise<void> {
  const password = await newPassword(flags)
  await session.connected((playhead) => playhead.access.setPassword(user, password))
  if (session.isJson) return session.print({ user, changed: true })
  await session.printText(`changed the password of ${user}; connections that came with the one before are closed`)
}

export async function deleteUser(session: Session, user: string): Promise<void> {
  await session.connected((playhead) => playhead.access.deleteUser(user))
  if (session.isJson) return session.print({ user, deleted: true })
  await session.printText(`deleted user ${user} with its grants and tokens`)
}

export async function listUsers(session: Session): Promise<void> {
  const { users } = await session.connected((playhead) => playhead.access.list())
  if (session.isJson) return printEach(session, users)
  await session.printText(
    table(
      ['user', 'password since'],
      users.map(({ user, changedAtMs }) => [user, timeText(changedAtMs)]),
    ),
  )
}

export interface TokenFlags {
  readonly for?: string
  readonly description?: string
  readonly scope: readonly string[]
  readonly expires?: string
}

export async function createToken(session: Session, flags: TokenFlags): Promise<void> {
  const scope = flags.scope.map((text) => {
    const [operation = '', pattern = '', ...rest] = text.split(' ')
    if (pattern === '' || rest.length > 0)
      throw new UsageError(
        `--scope: found ${JSON.stringify(text)}, wanted "OPERATION PATTERN" as in "read topic:carts"`,
      )
    return { operation: operationOf(operation), pattern }
  })
  const created = await session.connected((playhead) =>
    playhead.access.createToken({
      scope,
      ...(flags.for !== undefined && { principal: flags.for }),
      ...(flags.description !== undefined && { description: flags.description }),
      ...(flags.expires !== undefined && { lifetimeMs: durationMsOf('--expires', flags.expires) }),
    }),
  )
  if (session.isJson) return session.print(created)
  session.note(`token ${created.tokenId}, ${endText(created.expiresAtMs)}; it is shown here and never again:`)
  await session.printText(created.token)
}

export async function revokeToken(session: Session, tokenId: string): Promise<void> {
  await session.connected((playhead) => playhead.access.revokeToken(tokenId))
  if (session.isJson) return session.print({ tokenId, revoked: true })
  await session.printText(`revoked token ${tokenId}`)
}

export async function listTokens(session: Session): Promise<void> {
  const { tokens } = await session.connected((playhead) => playhead.access.list())
  if (session.isJson) return printEach(session, tokens)
  await session.printText(
    table(
      ['id', 'principal', 'scope', 'expires', 'last used', 'description'],
      tokens.map(({ tokenId, principal, scope, expiresAtMs, lastUsedAtMs, description }) => [
        tokenId,
        principal,
        scope.length === 0 ? 'all' : scope.map(grantText).join(', '),
        expiresAtMs === 0 ? 'never' : timeText(expiresAtMs),
        lastUsedAtMs === 0 ? '-' : timeText(lastUsedAtMs),
        description,
      ]),
    ),
  )
}

export async function addGrant(session: Session, principal: string, operation: string, pattern: string): Promise<void> {
  const grant: Grant = { operation: operationOf(operation), pattern }
  await session.connected((playhead) => playhead.access.grant(principal, [grant]))
  if (session.isJson) return session.print({ principal, ...grant, granted: true })
  await session.printText(`${principal} may ${grantText(grant)}`)
}

export async function removeGrant(
  session: Session,
  principal: string,
  operation: string,
  pattern: string,
): Promise<void> {
  const grant: Grant = { operation: operationOf(operation), pattern }
  await session.connected((playhead) => playhead.access.revoke(principal, [grant]))
  if (session.isJson) return session.print({ principal, ...grant, granted: false })
  await session.printText(`${principal} may not ${grantText(grant)} any more, by this grant`)
}

export async function listGrants(session: Session): Promise<void> {
  const { grants } = await session.connected((playhead) => playhead.access.list())
  const rows = grants.flatMap(({ principal, grants: own }) => own.map((grant) => ({ principal, ...grant })))
  if (session.isJson) return printEach(session, rows)
  await session.printText(
    table(
      ['principal', 'operation', 'what'],
      rows.map(({ principal, operation, pattern }) => [principal, operation, pattern]),
    ),
  )
}

export interface QuotaFlags {
  readonly requests?: number
  readonly inBytes?: number
  readonly outBytes?: number
  readonly connections?: number
  readonly default?: boolean
}

export async function setQuota(session: Session, principal: string, flags: QuotaFlags): Promise<void> {
  const quota: Quota | null =
    flags.default === true
      ? null
      : {
          requestsPerSecond: flags.requests ?? 0,
          inBytesPerSecond: flags.inBytes ?? 0,
          outBytesPerSecond: flags.outBytes ?? 0,
          connections: flags.connections ?? 0,
        }
  await session.connected((playhead) => playhead.access.setQuota(principal, quota))
  if (session.isJson) return session.print({ principal, quota })
  await session.printText(`quota of ${principal}: ${quota === null ? "the broker's default" : quotaText(quota)}`)
}

export async function listQuotas(session: Session): Promise<void> {
  const { quotas } = await session.connected((playhead) => playhead.access.list())
  if (session.isJson) return printEach(session, quotas)
  await session.printText(
    table(
      ['principal', 'quota'],
      quotas.map(({ principal, quota }) => [principal, quotaText(quota)]),
    ),
  )
}

export async function whoAmI(session: Session): Promise<void> {
  const found = await session.connected((playhead) => playhead.access.whoAmI())
  if (session.isJson) return session.print(found)
  const may = found.security ? found.grants.map((grant) => `\n  ${grantText(grant)}`).join('') : ': security is off'
  await session.printText(`${found.principal}${may}`)
}

async function printEach(session: Session, values: readonly unknown[]): Promise<void> {
  for (const value of values) await session.print(value)
}

/** From a file, or typed twice without being shown. */
async function newPassword({ newPasswordFile }: PasswordFlags): Promise<string> {
  const password =
    newPasswordFile === undefined ? await typedPassword() : await secretOf('--new-password-file', newPasswordFile)
  if (password.length >= passwordCharactersMin) return password
  throw new UsageError(`password: found ${password.length} characters, wanted ${passwordCharactersMin} or more`)
}

async function typedPassword(): Promise<string> {
  if (!process.stdin.isTTY) throw new UsageError('password: found nobody to ask, wanted --new-password-file FILE')
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() })
  const terminal = createInterface({ input: process.stdin, output: silent, terminal: true })
  const ask = async (question: string): Promise<string> => {
    process.stderr.write(question)
    const answer = await terminal.question('')
    process.stderr.write('\n')
    return answer
  }
  try {
    const first = await ask('New password: ')
    if ((await ask('Again: ')) === first) return first
    throw new UsageError('password: found two different ones, wanted the same twice')
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw new Interrupted('nothing changed')
  } finally {
    terminal.close()
  }
}

const unitsMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `30d`, `12h`, `15m`, `90s`. */
function durationMsOf(flag: string, text: string): number {
  const [, digits = '', unit = ''] = /^(\d{1,6})([smhd])$/.exec(text) ?? []
  const unitMs = unitsMs[unit]
  if (unitMs === undefined)
    throw new UsageError(`${flag}: found ${JSON.stringify(text)}, wanted a number with s, m, h or d, as in 30d`)
  return integerOf(flag, digits, 1) * unitMs
}

function grantText({ operation, pattern }: Grant): string {
  return `${operation} ${pattern}`
}

function quotaText({ requestsPerSecond, inBytesPerSecond, outBytesPerSecond, connections }: Quota): string {
  const limit = (value: number, unit: string): string[] => (value === 0 ? [] : [`${grouped(value)} ${unit}`])
  const limits = [
    ...limit(requestsPerSecond, 'requests/s'),
    ...limit(inBytesPerSecond, 'bytes/s in'),
    ...limit(outBytesPerSecond, 'bytes/s out'),
    ...limit(connections, 'connections'),
  ]
  return limits.length === 0 ? 'no limit' : limits.join(', ')
}

function timeText(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z')
}

function endText(expiresAtMs: number): string {
  return expiresAtMs === 0 ? 'valid until it is revoked' : `valid until ${timeText(expiresAtMs)}`
}
