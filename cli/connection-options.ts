/**
 * Who the command line is and whom it trusts, from flags and environment: a token, or a user and its password, and certificates. Secrets come from files or
 * from the environment, never from a flag: everybody on a machine sees the flags of everybody's commands.
 * Called by session.ts.
 */
import { readFile } from 'node:fs/promises'
import type { ClientCredentials, ClientTls } from '../client/index.ts'
import { UsageError } from './failure-report.ts'

/** Accepted before and after every command, beside those of Session. */
export interface ConnectionFlags {
  readonly user?: string
  readonly passwordFile?: string
  readonly tokenFile?: string
  readonly tls?: boolean
  readonly authorityFile?: string
  readonly certificateFile?: string
  readonly keyFile?: string
}

export interface ConnectionOptions {
  readonly credentials?: ClientCredentials
  readonly tls?: ClientTls
}

/** Throws UsageError naming the flag. */
export async function connectionOptions(
  flags: ConnectionFlags,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<ConnectionOptions> {
  const credentials = await credentialsOf(flags, environment)
  const tls = await tlsOf(flags, environment)
  return { ...(credentials && { credentials }), ...(tls && { tls }) }
}

async function credentialsOf(
  flags: ConnectionFlags,
  environment: NodeJS.ProcessEnv,
): Promise<ClientCredentials | undefined> {
  const user = flags.user ?? environment['PLAYHEAD_USER']
  const passwordFile = flags.passwordFile ?? environment['PLAYHEAD_PASSWORD_FILE']
  if (flags.tokenFile === undefined && user !== undefined) {
    if (passwordFile === undefined)
      throw new UsageError('--user: found no password, wanted --password-file FILE or PLAYHEAD_PASSWORD_FILE')
    return { user, password: await secretOf('--password-file', passwordFile) }
  }
  const token = environment['PLAYHEAD_TOKEN']
  const tokenFile = flags.tokenFile ?? (token === undefined ? environment['PLAYHEAD_TOKEN_FILE'] : undefined)
  if (tokenFile !== undefined) return { token: await secretOf('--token-file', tokenFile) }
  return token === undefined ? undefined : { token }
}

async function tlsOf(flags: ConnectionFlags, environment: NodeJS.ProcessEnv): Promise<ClientTls | undefined> {
  const authorityFile = flags.authorityFile ?? environment['PLAYHEAD_AUTHORITY_FILE']
  const certificateFile = flags.certificateFile ?? environment['PLAYHEAD_CERTIFICATE_FILE']
  const keyFile = flags.keyFile ?? environment['PLAYHEAD_KEY_FILE']
  if ((certificateFile === undefined) !== (keyFile === undefined))
    throw new UsageError('--certificate-file and --key-file: found one without the other, wanted both')
  if (flags.tls !== true && authorityFile === undefined && certificateFile === undefined) return undefined
  const file = async (flag: string, path: string | undefined) =>
    path === undefined ? undefined : await bytesOf(flag, path)
  return {
    authority: await file('--authority-file', authorityFile),
    certificate: await file('--certificate-file', certificateFile),
    key: await file('--key-file', keyFile),
  }
}

/** Its first line, without what ends it. Throws UsageError for an empty one. */
export async function secretOf(flag: string, path: string): Promise<string> {
  const [line = ''] = (await bytesOf(flag, path)).toString('utf8').split(/\r?\n/)
  if (line === '') throw new UsageError(`${flag}: ${path}: found an empty first line, wanted the secret in it`)
  return line
}

async function bytesOf(flag: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch (error) {
    throw new UsageError(`${flag}: found ${error instanceof Error ? error.message : String(error)}, wanted a file`)
  }
}
