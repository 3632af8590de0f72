import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseEtcdAddress } from '../../replication/etcd-address.ts'

test('an address of etcd names its members, TLS, and the cluster in it', () => {
  assert.deepEqual(parseEtcdAddress('etcd://127.0.0.1:2379'), {
    members: ['127.0.0.1:2379'],
    isTls: false,
    prefix: '/playhead',
  })
  assert.deepEqual(parseEtcdAddress('etcds://a:1,b.c:65535,[::1]:2379/shop-1'), {
    members: ['a:1', 'b.c:65535', '[::1]:2379'],
    isTls: true,
    prefix: '/shop-1',
  })
})

test('what is no address of etcd is refused with what one looks like', () => {
  for (const text of [
    '',
    'localhost:2379',
    'http://a:1',
    'etcd://',
    'etcd://a',
    'etcd://a:1,',
    'etcd://a:0',
    'etcd://a:65536',
    'etcd://a:1/b/c',
    'etcd://u:p@a:1',
  ]) {
    assert.throws(
      () => parseEtcdAddress(text),
      { code: 'invalidConfiguration', message: /wanted etcd:\/\/HOST:PORT/ },
      text,
    )
  }
})
