/**
 * Keeps the files of the page for times without a network, and gives the page threads.
 *
 * The network comes first: a new version is never hidden by an old one. Browsers share memory between threads
 * only in pages with the two headers, which many servers, such as GitHub Pages, cannot send.
 */

const CACHE = "mask-rcnn";
const ISOLATION = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

self.addEventListener("install", (event) => event.waitUntil(keepPage()));
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method === "GET" && new URL(request.url).origin === self.location.origin) {
    event.respondWith(answer(request, (promise) => event.waitUntil(promise)));
  }
});

/** Keeps the files of the page, which were loaded before this worker ran. */
async function keepPage() {
  const response = await fetch("static/config.json");
  const { files } = await response.json();
  const cache = await caches.open(CACHE);
  await cache.addAll(["./", ...files]);
  await self.skipWaiting();
}

async function answer(request, keepAlive) {
  const cache = await caches.open(CACHE);
  let response;
  try {
    response = await fetch(request);
  } catch (error) {
    const kept = await cache.match(request, { ignoreSearch: true });
    if (!kept) throw error;
    return isolated(kept);
  }
  if (response.status !== 200 || response.type !== "basic") return response;
  keepAlive(cache.put(request, response.clone()));
  return isolated(response);
}

function isolated(response) {
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(ISOLATION)) headers.set(name, value);
  return new Response(response.body, { status: response.status, headers });
}
