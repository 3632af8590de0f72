/**
 * Certificates and keys from the files that settings name. Throws invalidConfiguration that names the setting, the file, what was found in it and what is
 * wanted. Called by TlsFiles (what this broker is) and ClientTlsFiles (whom it trusts where it connects).
 */
import { X509Certificate, createPrivateKey } from 'node:crypto'
import type { FileSystem } from '../../platform/file-system.ts'
import { PlayheadError } from '../../protocol/errors.ts'

const fileBytesMax = 1024 * 1024

export interface PemFile {
  readonly bytes: Buffer
  readonly path: string
  readonly setting: string
}

/** The key must be the certificate's. */
export function checkPair(certificate: PemFile, key: PemFile): void {
  const parsed = certificateOf(certificate)
  let fits = false
  try {
    fits = parsed.checkPrivateKey(createPrivateKey(key.bytes))
  } catch {
    throw unfit(key, 'something that is no private key', 'one in PEM, without a passphrase')
  }
  if (!fits) throw unfit(key, 'the key of another certificate', `that of ${certificate.path}`)
}

export async function readCertificate(fileSystem: FileSystem, path: string, setting: string): Promise<Buffer> {
  const bytes = await readPem(fileSystem, path, setting)
  certificateOf({ bytes, path, setting })
  return bytes
}

export async function readPem(fileSystem: FileSystem, path: string, setting: string): Promise<Buffer> {
  try {
    const file = await fileSystem.open(path, 'read')
    try {
      const bytes = Buffer.alloc(Math.min(await file.sizeBytes(), fileBytesMax))
      return bytes.subarray(0, await file.read(bytes, 0))
    } finally {
      await file.close()
    }
  } catch (error) {
    throw unfit({ path, setting }, error instanceof Error ? error.message : String(error), 'a file that can be read')
  }
}

function certificateOf({ bytes, path, setting }: PemFile): X509Certificate {
  try {
    return new X509Certificate(bytes)
  } catch {
    throw unfit({ path, setting }, 'something that is no certificate', 'one in PEM')
  }
}

function unfit({ path, setting }: Omit<PemFile, 'bytes'>, found: string, wanted: string): PlayheadError {
  const message = `setting ${setting}: ${path}: found ${found}, wanted ${wanted}; see docs/operations/certificate-expiry.md`
  return new PlayheadError('invalidConfiguration', message, { setting, file: path })
}
