/**
 * Exposure: who could listen in or join in, given where the broker listens. Whatever is missing for others than this machine must be allowed by name, so
 * that nobody opens a broker to the world by an address alone.
 */
import { PlayheadError } from '../../protocol/errors.ts'
import type { BrokerConfig } from '../config.ts'

/** Throws invalidConfiguration when the broker would be open to others without what protects it. */
export function checkExposure(config: BrokerConfig): void {
  const { host, security, tlsCertificateFile, allowInsecure } = config
  if (isLoopback(host) || allowInsecure === 'everything') return
  if (security === 'off')
    throw refused(
      host,
      'security off',
      'on',
      '--security on with a TLS certificate, or say --allow-insecure everything',
    )
  if (tlsCertificateFile === '' && allowInsecure === 'nothing')
    throw refused(
      host,
      'no TLS certificate',
      'one',
      '--tls-certificate-file and --tls-key-file, or say --allow-insecure plaintext',
    )
}

/** What is missing, for the banner; '' when nothing is. */
export function exposureText({ host, security, tlsCertificateFile }: BrokerConfig): string {
  const missing = [
    ...(security === 'off' ? ['anybody who can connect may do anything (--security on)'] : []),
    ...(tlsCertificateFile === '' ? ['what travels is not encrypted (--tls-certificate-file)'] : []),
  ]
  if (missing.length === 0) return ''
  const where = isLoopback(host)
    ? `only this machine can connect (${host})`
    : `everybody who reaches ${host} can connect`
  return `insecure: ${where}; ${missing.join('; ')}`
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}

function refused(host: string, found: string, wanted: string, next: string): PlayheadError {
  return new PlayheadError(
    'invalidConfiguration',
    `setting host: found ${host}, where others than this machine can connect, with ${found}, wanted ${wanted}; start with ${next}`,
    { setting: 'host' },
  )
}
