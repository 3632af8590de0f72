/**
 * ClusterTls: the certificates with which this broker reaches what its cluster is made of: etcd and the other brokers. Checked and read before anything is opened.
 * Made by parts.ts, used by cluster.ts.
 */
import type { Clock } from '../platform/clock.ts'
import type { FileSystem } from '../platform/file-system.ts'
import type { TlsOptions } from '../platform/http-client.ts'
import type { ClientTls } from '../platform/tls.ts'
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

const brokerSettings = {
  authority: 'clusterBrokerAuthorityFile',
  certificate: 'tlsCertificateFile',
  key: 'tlsKeyFile',
} as const

export class ClusterTls {
  readonly #etcd: ClientTlsFiles | undefined
  readonly #brokers: ClientTlsFiles | undefined
  /** Brokers are like all who connect: without a certificate they are not let in where that is required. */
  readonly #showsOwn: boolean

  private constructor(etcd: ClientTlsFiles | undefined, brokers: ClientTlsFiles | undefined, showsOwn = false) {
    this.#etcd = etcd
    this.#brokers = brokers
    this.#showsOwn = showsOwn
  }

  /** Throws invalidConfiguration, naming the setting. */
  static async open(options: ClusterTlsOptions): Promise<ClusterTls> {
    const { config } = options
    if (config.cluster === '') return new ClusterTls(undefined, undefined)
    checkEtcdTls(config)
    checkBrokerTls(config)
    const isTls = parseEtcdAddress(config.cluster).isTls
    const etcd = isTls ? await ClientTlsFiles.open({ ...options, settings: etcdSettings, peer: 'etcd' }) : undefined
    const brokers =
      config.tlsCertificateFile === ''
        ? undefined
        : await ClientTlsFiles.open({ ...options, settings: brokerSettings, peer: 'other brokers' })
    return new ClusterTls(etcd, brokers, config.tlsClientCertificates === 'required')
  }

  /** For connections to other brokers; undefined = without TLS. */
  get brokers(): (() => ClientTls) | undefined {
    const files = this.#brokers
    if (files === undefined) return undefined
    return () => (this.#showsOwn ? files.texts : { authority: files.texts.authority })
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

  /** Looks at the files now. Never rejects. */
  async reload(): Promise<void> {
    await Promise.all([this.#etcd?.reload(), this.#brokers?.reload()])
  }

  close(): void {
    this.#etcd?.close()
    this.#brokers?.close()
  }
}

function checkBrokerTls({ tlsCertificateFile, clusterBrokerAuthorityFile: authority }: BrokerConfig): void {
  if (authority === '' || tlsCertificateFile !== '') return
  const message = `setting clusterBrokerAuthorityFile: found ${JSON.stringify(authority)} in a cluster without TLS, wanted tlsCertificateFile beside it; give every broker a certificate, or leave the setting out`
  throw new PlayheadError('invalidConfiguration', message, { setting: 'clusterBrokerAuthorityFile' })
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
