/** Settings of a broker's part in a cluster. cluster.ts makes that part from them. */
import { KiB, MiB } from '../protocol/limits.ts'
import { integer, secret, text } from './setting.ts'

export const clusterSettings = {
  cluster: text('', 'etcd of the cluster: etcd://HOST:PORT[,…][/NAME], etcds:// with TLS. Empty = a broker by itself.'),
  clusterUser: text('', 'User in etcd, where that wants one.'),
  clusterPassword: secret(text('', 'Password of that user: better in the environment than in a flag.')),
  clusterAuthorityFile: text(
    '',
    'PEM: authority of the certificate of etcd, with etcds://. Empty = those that this system trusts.',
  ),
  clusterCertificateFile: text('', 'PEM: certificate of this broker for etcd, where that wants one of its clients.'),
  clusterKeyFile: text('', 'PEM: key of that certificate.'),
  clusterSecretFile: text(
    '',
    'File with the secret by which the brokers of a cluster know each other: 32 or more characters, the same at all of them. Several lines: the first is proven, all are taken. Empty = they do not ask.',
  ),
  clusterBrokerAuthorityFile: text(
    '',
    'PEM: authority of the certificates of the other brokers, where brokers have TLS. Empty = those that this system trusts.',
  ),
  brokerId: integer('count', 1, [0, 1_000_000], 'This broker in its cluster; each has one of its own, and keeps it.'),
  rack: text(
    '',
    'Where this broker stands: replicas of a partition are put into different racks where there are enough.',
  ),
  advertisedHost: text('', 'Host under which the other brokers and clients reach this one. Empty = that of `host`.'),
  clusterSessionMs: integer(
    'ms',
    6_000,
    [2_000, 600_000],
    'A broker without a sign of life for so long is taken for dead: others lead its partitions.',
  ),
  replicaLagMsMax: integer(
    'ms',
    10_000,
    [1_000, 600_000], // below, a follower with nothing to fetch would fall out between two of its parked fetches
    'A follower that has not had all of its leader’s log for so long is not in sync any more.',
  ),
  replicaFetchBytesMax: integer(
    'bytes',
    4 * MiB,
    [64 * KiB, 256 * MiB],
    'Batches that a follower asks its leader for at once.',
  ),
}
