/**
 * TlsFiles: certificate, key and authority from their files, and new ones when the files change, without a restart: whoever renews a certificate writes
 * the files and is done. Invariant: what is in use is always a pair that fits; a file that cannot be read, or a key that does not fit its
 * certificate, is reported and leaves what is in use as it is.
 * Made by Broker; the listeners are told through `onChange`.
 */
import { X509Certificate, createPrivateKey } from 'node:crypto'
import type { Clock, Timer } from '../../platform/clock.ts'
import type { FileSystem } from '../../platform/file-system.ts'
import type { ServerTls } from '../../platform/tls.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import type { BrokerConfig } from '../config.ts'

const fileBytesMax = 1024 * 1024
/** Beyond connectionsMax: those that are told that there are too many. */
const extraConnections = 100

export interface TlsFilesOptions {
  readonly config: BrokerConfig
  readonly fileSystem: FileSystem
  readonly clock: Clock
  readonly report: (level: 'info' | 'warn', message: string) => void
}

export class TlsFiles {
  /** Set by the owner: connections from now on are to have this. */
  onChange: (tls: ServerTls) => void = () => {}
  readonly #options: TlsFilesOptions
  #tls: ServerTls
  #timer: Timer | undefined
  #reading: Promise<void> | undefined
  #problem = ''

  private constructor(options: TlsFilesOptions, tls: ServerTls) {
    this.#options = options
    this.#tls = tls
  }

  /** Undefined without TLS. Throws invalidConfiguration naming the file and what is wrong with it. */
  static async open(options: TlsFilesOptions): Promise<TlsFiles | undefined> {
    const { tlsCertificateFile, tlsKeyFile, tlsClientAuthorityFile, tlsClientCertificates } = options.config
    if (tlsCertificateFile === '' && tlsKeyFile === '' && tlsClientAuthorityFile === '') return undefined
    if (tlsCertificateFile === '' || tlsKeyFile === '') throw incomplete('tlsCertificateFile and tlsKeyFile', 'both')
    if ((tlsClientAuthorityFile === '') !== (tlsClientCertificates === 'none'))
      throw incomplete('tlsClientAuthorityFile and tlsClientCertificates', 'both or neither')
    const files = new TlsFiles(options, await read(options))
    files.#watch()
    return files
  }

  get tls(): ServerTls {
    return this.#tls
  }

  /** When the certificate in use ends; ms since the epoch. */
  get expiresAtMs(): number {
    return new X509Certificate(this.#tls.certificate).validToDate.getTime()
  }

  /** What is wrong with the files that are there now; '' when all is well. */
  get problem(): string {
    return this.#problem
  }

  /** Looks at the files now. Never rejects. */
  reload(): Promise<void> {
    this.#reading ??= this.#reload().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  close(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.onChange = () => {}
  }

  async #reload(): Promise<void> {
    const { report } = this.#options
    try {
      const tls = await read(this.#options)
      this.#problem = ''
      if (isSame(tls, this.#tls)) return
      this.#tls = tls
      this.onChange(tls)
      report('info', `TLS: new certificate in use, valid until ${new Date(this.expiresAtMs).toISOString()}`)
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error)
      if (problem !== this.#problem) report('warn', `TLS: the certificate before stays in use: ${problem}`)
      this.#problem = problem
    }
  }

  #watch(): void {
    const { clock, config } = this.#options
    this.#timer = clock.after(config.tlsCheckIntervalMs, () => void this.#look())
  }

  async #look(): Promise<void> {
    await this.reload()
    if (this.#timer !== undefined) this.#watch()
  }
}

async function read({ config, fileSystem }: TlsFilesOptions): Promise<ServerTls> {
  const certificate = await readFile(fileSystem, config.tlsCertificateFile, 'tlsCertificateFile')
  const key = await readFile(fileSystem, config.tlsKeyFile, 'tlsKeyFile')
  checkPair(certificate, key, config)
  const authorityFile = config.tlsClientAuthorityFile
  const clientAuthority =
    authorityFile === '' ? undefined : await readFile(fileSystem, authorityFile, 'tlsClientAuthorityFile')
  if (clientAuthority !== undefined) certificateOf(clientAuthority, 'tlsClientAuthorityFile', authorityFile)
  return {
    certificate,
    key,
    clientAuthority,
    clientCertificates: config.tlsClientCertificates,
    handshakeMsMax: config.helloWaitMsMax,
    connectionsMax: config.connectionsMax + extraConnections,
  }
}

function checkPair(certificate: Buffer, key: Buffer, { tlsCertificateFile, tlsKeyFile }: BrokerConfig): void {
  const parsed = certificateOf(certificate, 'tlsCertificateFile', tlsCertificateFile)
  let fits = false
  try {
    fits = parsed.checkPrivateKey(createPrivateKey(key))
  } catch {
    throw unfit('tlsKeyFile', tlsKeyFile, 'something that is no private key', 'one in PEM, without a passphrase')
  }
  if (!fits) throw unfit('tlsKeyFile', tlsKeyFile, 'the key of another certificate', `that of ${tlsCertificateFile}`)
}

function certificateOf(bytes: Buffer, setting: string, path: string): X509Certificate {
  try {
    return new X509Certificate(bytes)
  } catch {
    throw unfit(setting, path, 'something that is no certificate', 'one in PEM')
  }
}

async function readFile(fileSystem: FileSystem, path: string, setting: string): Promise<Buffer> {
  try {
    const file = await fileSystem.open(path, 'read')
    try {
      const bytes = Buffer.alloc(Math.min(await file.sizeBytes(), fileBytesMax))
      return bytes.subarray(0, await file.read(bytes, 0))
    } finally {
      await file.close()
    }
  } catch (error) {
    throw unfit(setting, path, error instanceof Error ? error.message : String(error), 'a file that can be read')
  }
}

function isSame(a: ServerTls, b: ServerTls): boolean {
  const authority = (tls: ServerTls): Buffer => tls.clientAuthority ?? Buffer.alloc(0)
  return a.certificate.equals(b.certificate) && a.key.equals(b.key) && authority(a).equals(authority(b))
}

function unfit(setting: string, path: string, found: string, wanted: string): PlayheadError {
  const message = `setting ${setting}: ${path}: found ${found}, wanted ${wanted}; see docs/operations/certificate-expiry.md`
  return new PlayheadError('invalidConfiguration', message, { setting, file: path })
}

function incomplete(settings: string, wanted: string): PlayheadError {
  return new PlayheadError(
    'invalidConfiguration',
    `settings ${settings}: found one without the other, wanted ${wanted}; see docs/configuration.md`,
  )
}
