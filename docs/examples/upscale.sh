#!/bin/sh
# Upscale a picture with curl: sh upscale.sh photo.jpg [http://127.0.0.1:8000]
# Writes photo_x4.png, and photo_x2.png from the same pass.
set -eu
picture=${1:?the picture is missing: sh upscale.sh photo.jpg}
service=${2:-http://127.0.0.1:8000}
service=${service%/}
case ${picture##*/} in
    *.*) name=${picture%.*} ;;
    *) name=$picture ;;
esac
headers=$(mktemp)
body=$(mktemp)
trap 'rm -f "$headers" "$body"' EXIT

# The picture is the body, as in --form commas, semicolons and quotes in its name would be more than that. The shell opens it: of a missing
# file, some versions of curl send nothing.
# curl retries 503 and 429 after Retry-After. An error's body, a problem document, goes to standard error.
curl --silent --show-error --fail-with-body --retry 5 \
    --data-binary @- --header "Content-Type: application/octet-stream" \
    --dump-header "$headers" --output "$body" \
    "$service/upscale?scale=4" <"$picture" || {
    cat "$body" >&2
    exit 1
}
cat "$body" >"${name}_x4.png"

id=$(tr -d '\r' <"$headers" | sed -n 's/^x-upscale-id: //Ip')
curl --silent --show-error --fail --output "${name}_x2.png" "$service/upscale?level=2&id=$id"
