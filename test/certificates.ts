/** Certificates for tests, made with openssl: an authority, and what it signs. A missing openssl fails by name. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface Pair {
  readonly certificate: string
  readonly key: string
}

async function openssl(args: readonly string[]): Promise<void> {
  try {
    await run('openssl', args)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
      throw new Error('openssl: not found, wanted it for certificates of tests; run: apt-get install openssl', {
        cause: error,
      })
    throw error
  }
}

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

export async function makeAuthority(directory: string, name: string): Promise<Pair> {
  const pair = { certificate: join(directory, `${name}.crt`), key: join(directory, `${name}.key`) }
  const subject = ['-subj', `/CN=${name}`, '-days', '30']
  await openssl(['req', '-x509', ...newKey, '-keyout', pair.key, '-out', pair.certificate, ...subject])
  return pair
}

export interface Wanted {
  readonly name: string
  readonly file?: string
  /** E.g. `DNS:localhost,IP:127.0.0.1`. */
  readonly names?: string
  /** Ended yesterday. */
  readonly expired?: boolean
}

export async function makeCertificate(directory: string, authority: Pair, wanted: Wanted): Promise<Pair> {
  const { name, file = name, names = 'DNS:localhost,IP:127.0.0.1', expired = false } = wanted
  const pair = { certificate: join(directory, `${file}.crt`), key: join(directory, `${file}.key`) }
  const request = join(directory, `${file}.csr`)
  await openssl([
    'req',
    ...newKey,
    '-keyout',
    pair.key,
    '-out',
    request,
    '-subj',
    `/CN=${name}`,
    '-addext',
    `subjectAltName=${names}`,
  ])
  const span = ['-days', expired ? '-1' : '30']
  const signer = ['-CA', authority.certificate, '-CAkey', authority.key, '-copy_extensions', 'copy']
  await openssl(['x509', '-req', '-in', request, ...signer, ...span, '-out', pair.certificate])
  return pair
}
