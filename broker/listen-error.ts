/** What the system says when a port cannot be had, as an expected failure that names the port, the setting and what to do. */
import { PlayheadError } from '../protocol/errors.ts'
import { flagOf } from './config.ts'

/** Answers the error to throw; what is no failure to listen stays as it is. */
export function listenError(error: unknown, host: string, port: number, setting: 'port' | 'httpPort'): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE') {
    return new PlayheadError(
      'portInUse',
      `port ${port} on ${host}: found another process listening, wanted it free; stop that one or choose another with ${flagOf(setting)}`,
      { port, setting },
    )
  }
  if (code === 'EACCES' || code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return new PlayheadError(
      'invalidConfiguration',
      `setting ${setting}: found ${host}:${port}, which this machine does not let us listen on (${code}); choose another host or port`,
      { port, setting },
    )
  }
  return error
}
