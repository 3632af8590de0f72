/**
 * TlsFiles: certificate, key and authority from their files, and new ones when the files change, without a restart: whoever renews a certificate writes
 * the files and is done. Invariant: what is in use is always a pair that fits; a file that cannot be read, or a key that does not fit its
 * certificate, is reported and leaves what is in use as it is.
 * Made by Broker; the listeners are told through `onChange`.
 */
import { X509Certificate } from 'node:crypto'
import type { Clock } from '../../platform/clock.ts'
import type { FileSystem } from '../../platform/file-system.ts'
import type { ServerTls } from '../../platform/tls.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import type { BrokerConfig } from '../config.ts'
import { checkPair, readCertificate, readPem } from './pem-files.ts'
import { RenewedFiles } from './renewed-files.ts'

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
  readonly #files: RenewedFiles<ServerTls>

  private constructor(files: RenewedFiles<ServerTls>) {
    this.#files = files
  }

  /** Undefined without TLS. Throws invalidConfiguration naming the file and what is wrong with it. */
  static async open(options: TlsFilesOptions): Promise<TlsFiles | undefined> {
    const { config, clock, report } = options
    const { tlsCertificateFile, tlsKeyFile, tlsClientAuthorityFile, tlsClientCertificates } = config
    if (tlsCertificateFile === '' && tlsKeyFile === '' && tlsClientAuthorityFile === '') return undefined
    if (tlsCertificateFile === '' || tlsKeyFile === '') throw incomplete('tlsCertificateFile and tlsKeyFile', 'both')
    if ((tlsClientAuthorityFile === '') !== (tlsClientCertificates === 'none'))
      throw incomplete('tlsClientAuthorityFile and tlsClientCertificates', 'both or neither')
    const renewed = await RenewedFiles.open({
      clock,
      intervalMs: config.tlsCheckIntervalMs,
      read: () => read(options),
      isSame,
      onNew(tls) {
        files.onChange(tls)
        report('info', `TLS: new certificate in use, valid until ${new Date(files.expiresAtMs).toISOString()}`)
      },
      onProblem: (problem) => report('warn', `TLS: the certificate before stays in use: ${problem}`),
    })
    const files = new TlsFiles(renewed)
    return files
  }

  get tls(): ServerTls {
    return this.#files.value
  }

  /** When the certificate in use ends; ms since the epoch. */
  get expiresAtMs(): number {
    return new X509Certificate(this.tls.certificate).validToDate.getTime()
  }

  /** What is wrong with the files that are there now; '' when all is well. */
  get problem(): string {
    return this.#files.problem
  }

  /** Looks at the files now. Never rejects. */
  reload(): Promise<void> {
    return this.#files.reload()
  }

  close(): void {
    this.#files.close()
    this.onChange = () => {}
  }
}

async function read({ config, fileSystem }: TlsFilesOptions): Promise<ServerTls> {
  const { tlsCertificateFile, tlsKeyFile, tlsClientAuthorityFile } = config
  const certificate = await readPem(fileSystem, tlsCertificateFile, 'tlsCertificateFile')
  const key = await readPem(fileSystem, tlsKeyFile, 'tlsKeyFile')
  checkPair(
    { bytes: certificate, path: tlsCertificateFile, setting: 'tlsCertificateFile' },
    { bytes: key, path: tlsKeyFile, setting: 'tlsKeyFile' },
  )
  const clientAuthority =
    tlsClientAuthorityFile === ''
      ? undefined
      : await readCertificate(fileSystem, tlsClientAuthorityFile, 'tlsClientAuthorityFile')
  return {
    certificate,
    key,
    clientAuthority,
    clientCertificates: config.tlsClientCertificates,
    handshakeMsMax: config.helloWaitMsMax,
    connectionsMax: config.connectionsMax + extraConnections,
  }
}

function isSame(a: ServerTls, b: ServerTls): boolean {
  const authority = (tls: ServerTls): Buffer => tls.clientAuthority ?? Buffer.alloc(0)
  return a.certificate.equals(b.certificate) && a.key.equals(b.key) && authority(a).equals(authority(b))
}

function incomplete(settings: string, wanted: string): PlayheadError {
  return new PlayheadError(
    'invalidConfiguration',
    `settings ${settings}: found one without the other, wanted ${wanted}; see docs/configuration.md`,
  )
}
