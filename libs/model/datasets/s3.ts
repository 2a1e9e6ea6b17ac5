// Owns: how an s3:// URL is asked for: its address at the endpoint, and AWS's signature (version 4) where there are credentials.
// Refuses to know: ranges, retries and what is in the object. Credentials go nowhere but into signatures.
import { AwsClient } from 'aws4fetch';
import type { S3Access } from './dataset-access.js';
import { plainGet, type HttpGet } from './http-file.js';

/** Reads `s3://bucket/key`. */
export function s3Get(access: S3Access): HttpGet {
  const { region, credentials } = access;
  const client =
    credentials &&
    new AwsClient({
      accessKeyId: credentials.accessKeyId,
      secretAccessKey: credentials.secretAccessKey,
      ...(credentials.sessionToken === undefined ? {} : { sessionToken: credentials.sessionToken }),
      service: 's3',
      region,
    });
  return async (url, headers, signal) => {
    // Where a redirect leads is not the store's address: it gets no signature.
    if (!url.startsWith('s3:')) return plainGet(url, headers, signal);
    const address = addressOf(url, access);
    const request = client === undefined ? new Request(address, { headers }) : await client.sign(address, { headers });
    return fetch(request, { signal, redirect: 'manual' });
  };
}

/** Path style at an endpoint of one's own, which need not have a host name per bucket. */
function addressOf(url: string, { endpoint, region }: S3Access): string {
  const { host: bucket, pathname } = new URL(url);
  if (endpoint !== undefined) return `${endpoint.replace(/\/+$/, '')}/${bucket}${pathname}`;
  return `https://${bucket}.s3.${region}.amazonaws.com${pathname}`;
}
