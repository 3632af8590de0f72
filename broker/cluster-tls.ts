/**
 * ClusterTls: the certificates with which this broker reaches what its cluster is made of: etcd. Checked and read before anything is opened.
 * Made by parts.ts, used by cluster.ts.
 */
import type { Clock } from '../platform/clock.ts'
import type { FileSystem } from '../platform/file-system.ts'
import type { TlsOptions } from '../platform/http-client.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { parseEtcdAddress } from '../replication/etcd-address.ts'
import type { BrokerConfig } from './config.ts'
import { ClientTlsFiles } from './security/client-tls-files.ts'

export interface ClusterTlsOptions {
  readonly config: BrokerConfig
  readonly fileSystem: FileSystem
  readonly clock: Clock
  readonly report: (level: 'info' | 'warn', message: string) => void
}

const etcdSettings = {
  authority: 'clusterAuthorityFile',
  certificate: 'clusterCertificateFile',
  key: 'clusterKeyFile',
} as const

export class ClusterTls {
  readonly #etcd: ClientTlsFiles | undefined

  private constructor(etcd: ClientTlsFiles | undefined) {
    this.#etcd = etcd
  }

  /** Throws invalidConfiguration, naming the setting. */
  static async open(options: ClusterTlsOptions): Promise<ClusterTls> {
    const { config } = options
    if (config.cluster === '') return new ClusterTls(undefined)
    checkEtcdTls(config)
    const isTls = parseEtcdAddress(config.cluster).isTls
    const etcd = isTls ? await ClientTlsFiles.open({ ...options, settings: etcdSettings, peer: 'etcd' }) : undefined
    return new ClusterTls(etcd)
  }

  /** For connections to etcd, as the files are now; undefined = without TLS. */
  get etcd(): TlsOptions | undefined {
    const files = this.#etcd
    if (files === undefined) return undefined
    return {
      get ca() {
        return files.texts.authority
      },
      get certificate() {
        return files.texts.certificate
      },
      get key() {
        return files.texts.key
      },
    }
  }

  close(): void {
    this.#etcd?.close()
  }
}

function checkEtcdTls(config: BrokerConfig): void {
  const { cluster, clusterCertificateFile: certificate, clusterKeyFile: key } = config
  if ((certificate === '') !== (key === '')) {
    const [there, missing] =
      key === ''
        ? (['clusterCertificateFile', 'clusterKeyFile'] as const)
        : (['clusterKeyFile', 'clusterCertificateFile'] as const)
    const message = `setting ${missing}: found none beside ${there} ${JSON.stringify(config[there])}, wanted both or neither: etcd is shown a certificate with its key; name the other file, too`
    throw new PlayheadError('invalidConfiguration', message, { setting: missing })
  }
  if (parseEtcdAddress(cluster).isTls) return
  const given = Object.values(etcdSettings).find((setting) => config[setting] !== '')
  if (given === undefined) return
  const message = `setting ${given}: found ${JSON.stringify(config[given])} beside ${cluster}, which is without TLS, wanted etcds://; write the address with etcds://, or leave the setting out`
  throw new PlayheadError('invalidConfiguration', message, { setting: given })
}
