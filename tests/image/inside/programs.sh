# Programs that must be there, and those that must not: whatever builds or installs.
set -eu
for name in bash wget grep python ray icss rclone; do
    command -v "$name" > /dev/null || { echo "no $name"; exit 1; }
done
for name in gcc cc ld make pip git; do
    if command -v "$name"; then exit 1; fi
done
echo "all there, and no more"
