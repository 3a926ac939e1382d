// A reverse proxy made of httputil.ReverseProxy, as one writes it in an afternoon; requests and upgrades alike.
//
//	go_reverse_proxy PORT TARGET...
package main

import (
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"sync/atomic"
)

func main() {
	port, targets := os.Args[1], os.Args[2:]
	var turn uint64
	proxy := &httputil.ReverseProxy{
		Director: func(request *http.Request) {
			request.URL.Scheme = "http"
			request.URL.Host = "127.0.0.1:" + targets[atomic.AddUint64(&turn, 1)%uint64(len(targets))]
			request.Header.Set("X-Forwarded-Proto", "http")
			request.Header.Set("X-Forwarded-Port", port)
		},
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{}).DialContext,
			DisableCompression:  true,
			MaxIdleConnsPerHost: 1024,
		},
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+port, proxy))
}
