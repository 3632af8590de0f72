/**
 * ClientTlsFiles: what this broker trusts and shows where it connects itself: an authority, and perhaps a certificate with its key, from files. Looked at again now
 * and then, so that whoever renews them writes the files and is done; new connections have the new ones.
 * Invariant: what is in use was readable and fitted together; a file that cannot be read any more is reported and leaves what is in use as it is.
 * Made by ClusterTls; its neighbour TlsFiles does the same for what this broker shows to those who connect.
 */
import type { Clock } from '../../platform/clock.ts'
import type { FileSystem } from '../../platform/file-system.ts'
import type { BrokerConfig, BrokerSettingName } from '../config.ts'
import { checkPair, readCertificate, readPem } from './pem-files.ts'
import { RenewedFiles } from './renewed-files.ts'

/** PEM; undefined = none of its own, or the authorities that this system trusts. */
export interface ClientTlsTexts {
  readonly authority: string | undefined
  readonly certificate: string | undefined
  readonly key: string | undefined
}

/** The settings that name the files; those that are empty name none. */
export interface ClientTlsSettings {
  readonly authority: BrokerSettingName
  readonly certificate: BrokerSettingName
  readonly key: BrokerSettingName
}

export interface ClientTlsFilesOptions {
  readonly config: BrokerConfig
  readonly fileSystem: FileSystem
  readonly clock: Clock
  readonly report: (level: 'info' | 'warn', message: string) => void
  readonly settings: ClientTlsSettings
  /** Whom it connects to, for people. */
  readonly peer: string
}

export class ClientTlsFiles {
  readonly #files: RenewedFiles<ClientTlsTexts>

  private constructor(files: RenewedFiles<ClientTlsTexts>) {
    this.#files = files
  }

  /** Throws invalidConfiguration naming the setting, the file and what is wrong with it. */
  static async open(options: ClientTlsFilesOptions): Promise<ClientTlsFiles> {
    const { config, clock, report, peer } = options
    const files = await RenewedFiles.open({
      clock,
      intervalMs: config.tlsCheckIntervalMs,
      read: () => read(options),
      isSame,
      onNew: () => report('info', `TLS to ${peer}: new files in use`),
      onProblem: (problem) => report('warn', `TLS to ${peer}: the files before stay in use: ${problem}`),
    })
    return new ClientTlsFiles(files)
  }

  /** For the next connection. */
  get texts(): ClientTlsTexts {
    return this.#files.value
  }

  close(): void {
    this.#files.close()
  }

  /** Looks at the files now. Never rejects. */
  reload(): Promise<void> {
    return this.#files.reload()
  }
}

async function read({ config, fileSystem, settings }: ClientTlsFilesOptions): Promise<ClientTlsTexts> {
  const pathOf = (setting: BrokerSettingName): string => String(config[setting])
  const [authorityPath, certificatePath, keyPath] = [settings.authority, settings.certificate, settings.key].map(pathOf)
  const authority =
    authorityPath === '' ? undefined : await readCertificate(fileSystem, authorityPath!, settings.authority)
  if (certificatePath === '') return { authority: authority?.toString(), certificate: undefined, key: undefined }
  const certificate = await readPem(fileSystem, certificatePath!, settings.certificate)
  const key = await readPem(fileSystem, keyPath!, settings.key)
  checkPair(
    { bytes: certificate, path: certificatePath!, setting: settings.certificate },
    { bytes: key, path: keyPath!, setting: settings.key },
  )
  return { authority: authority?.toString(), certificate: certificate.toString(), key: key.toString() }
}

function isSame(a: ClientTlsTexts, b: ClientTlsTexts): boolean {
  return a.authority === b.authority && a.certificate === b.certificate && a.key === b.key
}
