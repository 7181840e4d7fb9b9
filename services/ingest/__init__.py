"""From a data set's own layout to GeoTIFFs, masks and dataset.yaml in the object store."""

from services.ingest.ade20k import ingest_ade20k
from services.ingest.cityscapes import ingest_cityscapes
from services.ingest.derived import ingest_derived
from services.ingest.dubai import ingest_dubai
from services.ingest.folder import ingest_folder
from services.ingest.isprs import ingest_potsdam, ingest_vaihingen
from services.ingest.openearthmap import ingest_openearthmap
from services.ingest.toulouse import ingest_toulouse
from services.ingest.town_set import ingest_town
from services.ingest.voc import ingest_voc

__all__ = [
    "ingest_ade20k",
    "ingest_cityscapes",
    "ingest_derived",
    "ingest_dubai",
    "ingest_folder",
    "ingest_openearthmap",
    "ingest_potsdam",
    "ingest_toulouse",
    "ingest_town",
    "ingest_vaihingen",
    "ingest_voc",
]
